"""How a build is told: a status line on a terminal, a line for each step elsewhere."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from sift_launcher.console import LiveLog
from sift_launcher.image.build import Progress

if TYPE_CHECKING:
    from typing_extensions import Self

_TELLING = ("FROM", "COPY", "RUN")
"""Steps that take time; the others only set a value."""


class BuildProgress:
    """Writes to `stream` how far a pull and a build are."""

    def __init__(self, stream: TextIO) -> None:
        is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._log = LiveLog(stream.buffer, is_terminal)
        self._is_terminal = is_terminal
        self._start = time.monotonic()
        self._step = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._log.show("")

    def pulling(self, line: str) -> None:
        """How far the pull of the base is."""
        self._log.show(line)

    def building(self, progress: Progress) -> None:
        """A step has begun, or printed a line."""
        if not progress.is_beginning:
            self._log.show(f"{self._step} · {progress.text.strip()}")
            return
        word = progress.text.split(" ", 1)[0]
        self._step = f"step {progress.step}/{progress.steps} · {self.seconds:.0f} s · {word}"
        self._log.show(f"{self._step} {progress.text.removeprefix(word).strip()}")
        if not self._is_terminal and word in _TELLING:
            line = f"step {progress.step}/{progress.steps}: {progress.text}\n"
            self._log.write(line.encode("utf-8"))

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._start
