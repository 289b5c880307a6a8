"""A loader's own iterator, and what of its batches has not reached the script yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smart_sifting.memory.index_pass import IndexPass, pass_of

Indices = NDArray[np.int64]


class Source:
    """Gives the batches of `inner`, and says which samples each of them is made of.

    Attributes:
        passed: the pass over the loader's indices; None where there are none.
        indices: of the batch given last.
        given: of all batches given so far, if anybody may ask.
        failure: what `inner` has raised.
    """

    def __init__(self, inner: Iterator[Any]) -> None:
        self.inner = inner
        self.passed: IndexPass | None = pass_of(inner)
        self.indices: Indices = np.empty(0, np.int64)
        self.given: list[Indices] = []
        self.failure: BaseException | None = None
        self.pending: list[Any] = []

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        batch = self.whole()
        self.pending.append(batch)
        return batch

    def whole(self) -> Any:
        """The next batch, which goes to the script at once."""
        try:
            batch = next(self.inner)
        except StopIteration:
            raise
        except BaseException as failure:
            self.failure = failure
            self._came()
            raise
        self._came()
        return batch

    def settled(self) -> None:
        """What was fetched has reached the script, or was passed over for good."""
        self.pending.clear()

    def again(self) -> Any:
        """The oldest batch that was fetched and never given."""
        return self.pending.pop(0)

    def chosen_as_a_whole(self) -> bool:
        """Whether the pass, which begins now if it has not, is chosen from its first sample on."""
        if self.passed is None or self.given:
            return False
        self.passed.begin()
        return self.passed.chosen

    def chosen(self) -> None:
        """From now on the samples are chosen: who chooses them knows what was given."""
        self.given = []

    def _came(self) -> None:
        if self.passed is None:
            return
        self.indices = np.asarray(self.passed.returned())
        if not self.passed.chosen:
            self.given.append(self.indices)
