"""From a stream of batches to a stream of batches of what still teaches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from smart_sifting import batches as batch_ops
from smart_sifting.epoch_plan import EpochPlan, Quota, Shape
from smart_sifting.no_trace import synchronize
from smart_sifting.scoring import Scores
from smart_sifting.sifter import Sifter

# A draw from fewer samples than these hardly knows an easy one from a hard one.
SMALLEST_WINDOW = 64

WHOLE_STEPS_MEASURED = 20


class SiftedEpoch:
    """One pass over `source`: an iterator of full batches of kept samples.

    Args:
        sifter: whose history and carried samples it goes on with.
        source: the plain loader's batches that are left of this epoch.
        plan: its exact length; None keeps the share without a fixed end.
        shape: what the plain loader says of itself.
        untouched: samples of this epoch that were given whole before; they count.
    """

    # Until it is made: `__del__` also meets what never was.
    _closed = True

    def __init__(
        self,
        sifter: Sifter,
        source: Iterator[Any],
        plan: EpochPlan | None,
        shape: Shape,
        untouched: int = 0,
    ) -> None:
        self._sifter = sifter
        self._meter = sifter.meter
        self._source = source
        self._quota = Quota(sifter.config.keep, plan)
        self._plan = plan
        self._given = 0
        self._shape = shape
        self._batch_size = shape.batch_size
        # With everything kept there is nothing to choose, and so nothing to score.
        self._delay = math.inf if sifter.config.keep == 1 else sifter.delay()
        self._pieces: list[_Piece] = []
        self._waiting = 0
        self._window = 1
        self._ended = False
        self._given_at: float | None = None
        # Seconds that the data took of the batch given last, if that one was given untouched.
        self._given_whole: float | None = None
        self._given_full = False
        self._given_timed = False
        self._data = 0.0
        if untouched:
            self._quota.untouched(untouched)
        self._take_carried()
        self._closed = False

    @property
    def unfinished(self) -> bool:
        """Whether batches of this epoch are still to come, as far as its plan tells."""
        return not self._closed and (self._plan is None or self._given < self._plan.batches)

    @property
    def waiting(self) -> int:
        """Samples that were kept and have not been given yet."""
        return self._waiting

    @property
    def repeatable(self) -> int:
        """Batches that would be given again if it were begun again: it would choose others."""
        return 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        timed = self._timed()
        asked = self._meter.clock()
        self._settle_step(asked, measured=self._given_full and self._given_timed and timed)
        data_before = self._meter.data_seconds
        try:
            batch = self._next_batch()
        finally:
            inside = self._meter.clock() - asked
            self._meter.scoring_seconds += inside - (self._meter.data_seconds - data_before)
        self._sifter.steps += 1
        self._given += 1
        self._given_timed = timed
        self._given_at = self._meter.clock()
        return batch

    def _timed(self) -> bool:
        """Whether the clock, read now, shows the training step to its end.

        An accelerator must have been waited for. Scoring waits for it anyway; on whole batches it
        would cost the script its lead over the accelerator, so a few of them must do.
        """
        if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            return True
        if self._full() or (self._delay > 0 and self._meter.measured_steps >= WHOLE_STEPS_MEASURED):
            return False
        synchronize(self._sifter.score.modules)
        return True

    def _settle_step(self, now: float, *, measured: bool) -> None:
        """Count the training step on the batch given last."""
        if self._given_at is None:
            return
        trained, self._given_at = now - self._given_at, None
        if self._given_whole is None:
            self._meter.step(trained, measured=measured)
        else:
            self._meter.whole_step(trained, self._given_whole, measured=measured)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Count what was kept but never asked for: the script broke out of the loop."""
        if self._closed:
            return
        visits = self._visits()
        self._closed = self._ended = True
        self._delay = 0
        self._meter.left_over += self._waiting
        self._pieces, self._waiting = [], 0
        self._sifter.settle_epoch(visits)
        self._meter.epoch_ended()

    def _visits(self) -> float:
        """How often this pass gave each sample, on average; 0 where nobody knows how many more
        there would have been."""
        if self._plan is not None:
            samples = self._plan.samples
        else:
            samples = self._quota.seen if self._ended else 0
        return self._quota.kept / samples if samples else 0.0

    def abandon(self) -> None:
        """Forget what was kept and not given: the batches that it is from will be given whole."""
        self._meter.kept -= self._waiting
        self._pieces, self._waiting = [], 0
        self.close()

    def _next_batch(self) -> Any:
        if self._delay > 0:
            try:
                return self._delayed_batch()
            except StopIteration:
                self._ended, self._delay = True, 0
        self._given_whole = None
        while not self._ended and not self._full():
            self._sift_window()
        if self._full():
            return self._give(self._batch_size or self._waiting)
        if self._waiting and not self._shape.drop_last:
            return self._give(self._waiting)
        self._carry()
        self.close()
        raise StopIteration

    def _delayed_batch(self) -> Any:
        batch = self._fetch()
        samples = batch_ops.batch_size(self._sifter.transformed(batch), self._sifter.dim)
        self._delay -= 1
        self._quota.untouched(samples)
        self._meter.fetched(samples)
        self._meter.whole_batch(samples)
        self._given_whole = self._data
        self._given_full = samples == (self._batch_size or samples)
        return batch

    def _full(self) -> bool:
        return self._batch_size is not None and self._waiting >= self._batch_size

    def _sift_window(self) -> None:
        """Score the next window of batches and keep its quota."""
        pieces: list[_Piece] = []
        while len(pieces) < self._window:
            try:
                original = self._fetch()
            except StopIteration:
                self._ended = True
                break
            if self._plan is not None and self._quota.seen >= self._plan.samples:
                # It goes on beyond its length, as samplers for training by iterations do.
                self._plan, self._quota = None, Quota(self._sifter.config.keep)
            transformed = self._sifter.transformed(original)
            samples = batch_ops.batch_size(transformed, self._sifter.dim)
            if self._batch_size is None:
                self._batch_size = samples
            self._window = self._window_of(samples)
            self._meter.fetched(samples)
            pieces.append(_Piece(transformed, original, [], samples))
        if not pieces:
            return
        start = self._meter.clock()
        scores = self._sifter.score([(x.transformed, x.original, x.samples) for x in pieces])
        self._keep(pieces, scores)
        self._meter.window_scored(self._meter.clock() - start, len(scores.losses))
        self._sifter.heed_guard()

    def _window_of(self, samples: int) -> int:
        """Batches in a window: enough to choose from, and one alone when nothing is dropped."""
        keep = self._sifter.config.keep
        if keep == 1:
            return 1
        return max(math.ceil(1 / keep), math.ceil(SMALLEST_WINDOW / max(1, samples)))

    def _keep(self, pieces: list[_Piece], scores: Scores) -> None:
        window = len(scores.losses)
        grant, room = self._quota.grant(window), self._quota.room()
        chosen = self._sifter.rule.choose(scores.losses, grant, room).tolist()
        self._quota.spend(window, len(chosen))
        # The window as one: between its batches the counts would be out of proportion.
        scored = self._sifter.unscored is None
        self._meter.sifted_batch(scores.losses if scored else None, chosen, scores.labels)
        start = 0
        for piece in pieces:
            piece.rows = [row - start for row in chosen if start <= row < start + piece.samples]
            start += piece.samples
            if piece.rows:
                self._pieces.append(piece)
                self._waiting += len(piece.rows)

    def _give(self, samples: int) -> Any:
        """The oldest `samples` kept samples as one batch."""
        first = self._pieces[0]
        if first.whole() and first.samples == samples and first.original is not None:
            batch = self._pieces.pop(0).original
        else:
            batch = self._sifter.restored(self._merged(samples))
        self._waiting -= samples
        self._given_full = samples == self._batch_size
        self._meter.batches_given += 1
        return batch

    def _merged(self, samples: int) -> Any:
        parts = []
        while samples:
            piece = self._pieces[0]
            rows, piece.rows = piece.rows[:samples], piece.rows[samples:]
            parts.append(batch_ops.take(piece.transformed, rows, self._sifter.dim))
            samples -= len(rows)
            if not piece.rows:
                self._pieces.pop(0)
            else:
                # What is left of it can no longer be given as the loader made it.
                piece.original = None
        return parts[0] if len(parts) == 1 else batch_ops.merge(parts, self._sifter.dim)

    def _carry(self) -> None:
        """Keep what makes no full batch for the next epoch, as the loader's drop_last says."""
        if self._waiting:
            self._meter.left_over += self._waiting
            self._sifter.carried.append(self._merged(self._waiting))
            self._waiting = 0

    def _take_carried(self) -> None:
        for transformed in self._sifter.carried:
            samples = batch_ops.batch_size(transformed, self._sifter.dim)
            rows = list(range(samples))
            self._pieces.append(_Piece(transformed, None, rows, samples))
            self._waiting += samples
            self._meter.left_over -= samples
        self._sifter.carried = []

    def _fetch(self) -> Any:
        batch, self._data = self._meter.timed_next(self._source)
        return batch


@dataclass
class _Piece:
    """Kept rows of one batch, not yet given. `original` is given as it is if every row is kept."""

    transformed: Any
    original: Any
    rows: list[int]
    samples: int

    def whole(self) -> bool:
        return len(self.rows) == self.samples
