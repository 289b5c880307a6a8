"""Whole lines: what a script prints reaches the log line by line, however it arrives."""

from __future__ import annotations

import os
import select
import sys

TAIL_BYTES = 64 * 1024
_LONGEST_HELD = 1024 * 1024


class LineStream:
    """Copies one stream of a script to the file descriptor ``target``, whole lines at a time.

    Bytes after the last newline wait until their line is complete, so that two writers never
    share a line and a metric's regular expression always sees all of it. A progress bar, which
    redraws its line with carriage returns, passes at once. ``tail`` is what came last, at most
    `TAIL_BYTES`.
    """

    __slots__ = ("_held", "_redrawing", "_target", "error", "tail")

    def __init__(self, target: int) -> None:
        self._target = target
        self._held = b""
        self._redrawing = False
        self.tail = b""
        self.error: OSError | None = None

    def feed(self, chunk: bytes) -> None:
        """Take what the script printed, and write every line it completes."""
        self.tail = (self.tail + chunk)[-TAIL_BYTES:]
        data = self._held + chunk
        complete = data.rfind(b"\n") + 1
        if complete:
            self._redrawing = False
        self._redrawing = self._redrawing or data.find(b"\r", complete) >= 0
        if self._redrawing or len(data) - complete > _LONGEST_HELD:
            complete = len(data)
        self._held = data[complete:]
        if complete:
            self._write(data[:complete])

    def close(self) -> None:
        """Write a last line that came without its newline."""
        if self._held:
            self._write(self._held)
        self._held = b""

    def _write(self, data: bytes) -> None:
        """A log that cannot be written must not end a training: ``error`` keeps the reason."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._target, rest) :]
            except BlockingIOError:
                _wait_until_writable(self._target)
            except OSError as error:
                self.error = error
                return


def shares_its_streams() -> bool:
    """Whether this process is a rank among several on this host: they print to one pipe."""
    return os.environ.get("LOCAL_WORLD_SIZE", "1") != "1" or "--multiprocessing-fork" in sys.argv


def buffer_lines() -> None:
    """Make this Python process print one whole line with one write, even when unbuffered.

    ``PYTHONUNBUFFERED`` has ``print`` write a line's text and its newline apart, and another
    rank's line can land between the two.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # None or replaced streams stay as is
        if reconfigure is not None:
            reconfigure(line_buffering=True, write_through=False)


def _wait_until_writable(descriptor: int) -> None:
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT)
    poller.poll()
