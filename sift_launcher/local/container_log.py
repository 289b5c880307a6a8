"""What a container prints, on its way to the log file of its host."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

from sift_entrypoint.lines import LineStream

_HEADER = struct.Struct(">BxxxL")  # which stream, and how many bytes of it follow


def copy_log(read: Callable[[int], bytes], log: Path) -> None:
    """Adds all that comes to `log`, until both streams of the container have ended.

    `read(n)` gives the next n bytes of the engine's multiplexed stream, fewer at its end. A line
    of one stream is never cut by a line of the other. Raises OSError when the engine is gone.
    """
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    streams = {1: LineStream(file), 2: LineStream(file)}
    try:
        while len(header := read(_HEADER.size)) == _HEADER.size:
            number, size = _HEADER.unpack(header)
            streams[number].feed(read(size))
    finally:
        for stream in streams.values():
            stream.close()
        os.close(file)
