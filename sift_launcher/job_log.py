"""The log of a job as one stream: of one host byte for byte, of several in whole lines by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from sift_launcher.local.records import JobRecord

_AT_ONCE_BYTES = 1 << 20
_LONGEST_HELD = 1 << 20


class JobLog:
    """What is new in the log files of a job, which come and grow at any time."""

    def __init__(self, record: JobRecord) -> None:
        self._folder = record.logs
        count = record.request().get("ResourceConfig", {}).get("InstanceCount", 1)
        self._name_width = len(f"algo-{count}") if count > 1 else 0
        self._files: dict[str, BinaryIO] = {}
        self._lines: dict[str, _HostLines] = {}

    def read(self) -> Iterator[bytes]:
        """What came since the last call, in pieces.

        Of several hosts only whole lines, each under its host's name, each host's in their order.
        """
        for path in sorted(self._folder.glob("*.log")):
            if path.name not in self._files:
                self._files[path.name] = path.open("rb")
                self._lines[path.name] = _HostLines(f"{path.stem:{self._name_width}} | ".encode())
        for name, file in self._files.items():
            while content := file.read(_AT_ONCE_BYTES):
                yield self._lines[name].feed(content) if self._name_width else content

    def rest(self) -> Iterator[bytes]:
        """The lines that their hosts have not ended, once no more will come."""
        for lines in self._lines.values():
            yield lines.end()

    def close(self) -> None:
        """Closes the files."""
        for file in self._files.values():
            file.close()


class _HostLines:
    """One host's output, made into whole lines that begin with `label`.

    Of a progress bar, which redraws its line with carriage returns, the last state counts: lines
    of other hosts come between, and nothing could be redrawn.
    """

    def __init__(self, label: bytes) -> None:
        self._label = label
        self._held = b""

    def feed(self, content: bytes) -> bytes:
        """The lines that `content` ends."""
        data = self._held + content
        end = data.rfind(b"\n") + 1
        if not end and len(data) > _LONGEST_HELD:
            data += b"\n"
            end = len(data)
        begun = data[end:]
        # A carriage return at its end says that what comes will be written over it.
        self._held = last_redraw(begun) + (b"\r" if begun.endswith(b"\r") else b"")
        return self._labelled(data[: end - 1]) if end else b""

    def end(self) -> bytes:
        """The line that has begun."""
        held, self._held = self._held, b""
        return self._labelled(held) if held else b""

    def _labelled(self, lines: bytes) -> bytes:
        if b"\r" in lines:
            lines = b"\n".join(map(last_redraw, lines.split(b"\n")))
        return self._label + lines.replace(b"\n", b"\n" + self._label) + b"\n"


def last_redraw(line: bytes) -> bytes:
    """What a terminal shows of `line` in the end: what follows the last carriage return that
    something follows."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]
