"""Which of the batches handed out a training step belongs to.

Most scripts train on the batch that they were given last. Some look ahead: Accelerate fetches one
more batch before it gives the one in hand; Hugging Face's Trainer fetches all batches of an
accumulated step before it trains on the first. Those train on the oldest batch not trained yet.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Literal

Rule = Literal["latest", "oldest"]


class TrainedBatches:
    """Follows one loader: what it hands out, and the backwards that come.

    Args:
        rule: which batch a backward is of.
        backwards: how many of them each batch has. Of no account where the latest is trained.
        ahead: the most batches that the script fetches before it trains on the oldest of them,
            which does not count. None: not known.
    """

    def __init__(self, rule: Rule = "latest", backwards: int = 1, ahead: int | None = None) -> None:
        self.rule: Rule = rule
        self.backwards = backwards
        self.ahead = ahead
        self._waiting: deque[Any] = deque()
        self._trained: Any | None = None
        self._due = 0
        self._lost = False

    @property
    def behind(self) -> bool:
        """Whether batches that were fetched ahead are still to be trained on."""
        return self.rule == "oldest" and bool(self._waiting or self._due)

    def handed(self, item: Any) -> None:
        """A batch went to the script.

        Args:
            item: stands for the batch. None: nobody knows what it holds, so that its backwards
                cannot be told either.
        """
        if self.rule == "latest":
            self._waiting.clear()
        self._waiting.append(item)

    def backward(self) -> Any | None:
        """The batch trained by the backward that begins now; None if that cannot be told.

        A batch that has several backwards, as with sharpness-aware minimisation, is given again.
        """
        if self.rule == "latest":
            return self._waiting[-1] if self._waiting else None
        if not self._due:
            self._take_next()
        if self._lost or not self._due:
            return None
        self._due -= 1
        return self._trained

    def begin_pass(self) -> None:
        """The script iterates anew: what it has not trained on by now it never will."""
        self._waiting.clear()
        self._trained = None
        self._due = 0
        self._lost = False

    def _take_next(self) -> None:
        # More in store than ever: the script has left a batch out, and the oldest waits in vain.
        if self.ahead is not None and len(self._waiting) > self.ahead + 1:
            self._lost = True
        if self._waiting:
            self._trained = self._waiting.popleft()
            self._due = self.backwards


class LookAhead:
    """Learns, from backwards whose batches are known, how a script goes through a loader.

    Attributes:
        waiting: batches that had been handed out and not been trained on at the last backward.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self._ahead = 0
        self._always_latest = True
        self._in_order = True
        # Of each batch in turn: its number, and how many backwards it has had.
        self._trained: list[tuple[int, int]] = []

    def observe(self, trained: int, latest: int) -> None:
        """A backward was on one batch when another, or the same, was the last handed out.

        Args:
            trained: number of the batch trained on, counted over this loader's batches alone.
            latest: number of the batch handed out last.
        """
        self.waiting = latest - trained
        self._ahead = max(self._ahead, self.waiting)
        self._always_latest &= trained == latest
        before, count = self._trained[-1] if self._trained else (trained - 1, 0)
        if trained == before:
            self._trained[-1] = trained, count + 1
            return
        self._in_order &= trained == before + 1
        self._trained.append((trained, 1))

    def rule(self) -> Rule | None:
        """Which batch a backward is of; None if neither rule holds, or nothing was seen."""
        if not self._trained:
            return None
        if self._always_latest:
            return "latest"
        return "oldest" if self._in_order and self._even() else None

    def trained_batches(self) -> TrainedBatches | None:
        """Follows the loader by the rule; None if there is none."""
        rule = self.rule()
        return None if rule is None else TrainedBatches(rule, self._backwards(), self._ahead)

    def _backwards(self) -> int:
        """How many backwards a batch has."""
        return max(count for _, count in self._trained)

    def _even(self) -> bool:
        """Whether all batches have as many; the first was perhaps not seen whole, nor the last."""
        return all(count == self._backwards() for _, count in self._trained[1:-1])
