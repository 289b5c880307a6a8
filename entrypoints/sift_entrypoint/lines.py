"""Whole lines: what a script prints reaches the log line by line, however it arrives."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

LOG_VARIABLE = "JOB_LOG_STREAMS"
"""In a job's processes: which files are its log, as systemd's ``JOURNAL_STREAM`` has it."""

TAIL_BYTES = 64 * 1024
_LONGEST_HELD = 1024 * 1024


class LineStream:
    """Copies one stream of a script to the file descriptor ``target``, whole lines at a time.

    Bytes after the last newline wait until their line is complete, so that two writers never
    share a line and a metric's regular expression always sees all of it. A progress bar, which
    redraws its line with carriage returns, passes at once.
    """

    __slots__ = ("_held", "_redrawing", "_tail", "_target", "error")

    def __init__(self, target: int) -> None:
        self._target = target
        self._held = b""
        self._redrawing = False
        self._tail = bytearray()
        self.error: OSError | None = None

    @property
    def tail(self) -> bytes:
        """What came last, at most `TAIL_BYTES`."""
        return bytes(self._tail[-TAIL_BYTES:])

    def feed(self, chunk: bytes) -> None:
        """Take what the script printed, and write every line it completes."""
        self._tail += chunk
        if len(self._tail) > 4 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]
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


def log_variable(out: int, err: int) -> str:
    """What `LOG_VARIABLE` says where ``out`` and ``err`` are the job's log, as descriptors."""
    return f"{_identity(out)} {_identity(err)}"


def buffer_lines() -> None:
    """Make this Python process print a line to the job's log with one write, even when unbuffered.

    ``PYTHONUNBUFFERED`` has ``print`` write a line's text and its newline apart: twice the work,
    and another process's line can land between the two. A line still appears as it ends. Streams
    that lead elsewhere stay as they are: a reader of half lines may wait at their other end.
    """
    shared = _shares_its_streams()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is None:  # replaced, or not there at all
            continue
        unbuffered = getattr(stream, "write_through", False)
        if shared or (unbuffered and _is_log(stream)):
            reconfigure(line_buffering=True, write_through=False)


def _shares_its_streams() -> bool:
    """Whether this process is a rank among several on this host: they print to one pipe."""
    return os.environ.get("LOCAL_WORLD_SIZE", "1") != "1" or "--multiprocessing-fork" in sys.argv


def _is_log(stream: TextIO) -> bool:
    try:
        return _identity(stream.fileno()) in os.environ.get(LOG_VARIABLE, "").split()
    except (OSError, ValueError):  # closed, or nothing that has a descriptor
        return False


def _identity(descriptor: int) -> str:
    status = os.fstat(descriptor)
    return f"{status.st_dev}:{status.st_ino}"


def _wait_until_writable(descriptor: int) -> None:
    import select  # rarely needed, and a script's folder may hold a module of that name

    poller = select.poll()
    poller.register(descriptor, select.POLLOUT)
    poller.poll()
