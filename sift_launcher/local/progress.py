"""How far a script has got, by what it prints."""

from __future__ import annotations

import re
from pathlib import Path

_AT_ONCE_BYTES = 1 << 20
_LONGEST_WORDS = 200  # what a piece of a log may end in the middle of

_OF = rb"\D{0,3}?(\d+)\s*(?:/|of)\s*(\d+)"
_EPOCH = re.compile(rb"\bepoch" + _OF, re.IGNORECASE)
_STEP = re.compile(rb"\b(?:step|iter|iteration)" + _OF, re.IGNORECASE)
_BAR = re.compile(rb"\b(\d{1,3})%\|")


class Progress:
    """Reads `epoch 3/5`, `Epoch [3/5]`, `step 300/1000` and the `30%|` of progress bars.

    Epochs count for more than steps, and both for more than bars. The bar of a single epoch, which
    names it on its line, does not count.
    """

    def __init__(self, log: Path) -> None:
        """Of `log`, which need not exist yet, what is added from now on counts."""
        self._log = log
        self._read = log.stat().st_size if log.exists() else 0
        self._tail = b""
        self._furthest: dict[re.Pattern[bytes], float] = {}

    def share(self) -> float | None:
        """How much of the job is done, between 0 and 1; None as long as nothing told it."""
        try:
            with self._log.open("rb") as file:
                file.seek(self._read)
                while content := file.read(_AT_ONCE_BYTES):
                    self._read += len(content)
                    text = self._tail + content
                    self._look(text)
                    self._tail = text[-_LONGEST_WORDS:]
        except FileNotFoundError:
            return None
        for pattern in (_EPOCH, _STEP, _BAR):
            if pattern in self._furthest:
                return self._furthest[pattern]
        return None

    def _look(self, text: bytes) -> None:
        for pattern in (_EPOCH, _STEP):
            for match in pattern.finditer(text):
                self._reach(pattern, int(match[1]), int(match[2]))
        for match in _BAR.finditer(text):
            if b"epoch" not in _line_before(text, match.start()).lower():
                self._reach(_BAR, int(match[1]), 100)

    def _reach(self, pattern: re.Pattern[bytes], part: int, whole: int) -> None:
        if 0 <= part <= whole > 0:
            self._furthest[pattern] = max(part / whole, self._furthest.get(pattern, 0.0))


def _line_before(text: bytes, end: int) -> bytes:
    start = max(text.rfind(b"\n", 0, end), text.rfind(b"\r", 0, end)) + 1
    return text[start:end]
