"""A job's log where `fit` was called: on a terminal, in a file, or in a notebook."""

from __future__ import annotations

import codecs
import sys
from typing import BinaryIO, TextIO, cast

from sift_launcher.console import LiveLog
from sift_launcher.follow import follow
from sift_launcher.jobs import Job


def show_log(job: Job, *, wait: bool) -> None:
    """Prints the job's log: all of it as it comes with `wait`, else what there is."""
    stream = _binary(sys.stdout)
    if wait:
        with LiveLog(stream, is_terminal=False) as log:
            follow(job, log)
        return
    for content in job.log_content():
        stream.write(content)
    stream.flush()


def _binary(stream: TextIO) -> BinaryIO:
    """Where bytes are written that shall appear on `stream`; a notebook's takes text alone."""
    return cast("BinaryIO", getattr(stream, "buffer", None) or _Decoding(stream))


class _Decoding:
    """Bytes as text, wherever they are cut."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, content: bytes) -> None:
        self._stream.write(self._decoder.decode(content))

    def flush(self) -> None:
        self._stream.flush()
