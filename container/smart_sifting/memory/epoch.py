"""One pass over a loader that is asked for chosen samples alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from smart_sifting.epoch_plan import EpochPlan
from smart_sifting.memory.source import Source

if TYPE_CHECKING:
    from smart_sifting.memory.sifter import MemorySifter

# Steps to measure after an accelerator was waited for; more would cost the script its lead.
STEPS_MEASURED = 20


class MemoryEpoch:
    """Counts the chosen batches as they come, and ends after as many as were planned.

    Args:
        sifter: whose memory it feeds.
        source: the loader's own iterator.
        plan: the epoch's exact length.
        untouched: samples of this epoch that were given before; they count.
        whole: samples at the epoch's beginning that were not chosen; of those nothing is passed
            over.
    """

    def __init__(
        self,
        sifter: MemorySifter,
        source: Source,
        plan: EpochPlan,
        untouched: int = 0,
        whole: int = 0,
    ) -> None:
        self._sifter = sifter
        self._meter = sifter.meter
        self._source = source
        self._batch_size = plan.batch_size
        self._to_give, self._to_see, self._whole = plan.kept, plan.samples, whole
        self._given = untouched
        self._seen, self._batches_seen = self._passed(untouched)
        if untouched:
            self._come_again(untouched)
        self._given_at: float | None = None
        self._given_full = self._given_timed = False
        self._closed = False

    @property
    def unfinished(self) -> bool:
        """Whether batches of this epoch are still to come."""
        return not self._closed and (self._given < self._to_give or self._sifter.behind)

    @property
    def batches(self) -> int:
        """Batches given so far, those before it was made included."""
        return -(-self._given // self._batch_size)

    @property
    def waiting(self) -> int:
        """Samples that were kept and have not been given yet: none, for they are not loaded."""
        return 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self._settle_step()
        if self._given >= self._to_give:
            # What the workers had loaded beyond it is not for the script.
            self._see(self._to_see, -(-self._to_see // self._batch_size))
            self._close(at_end=True)
            raise StopIteration
        start = self._meter.clock()
        try:
            batch = next(self._source)
        except StopIteration:
            self._close(at_end=True)
            raise
        now = self._meter.clock()
        self._meter.data_seconds += now - start
        indices = self._source.indices
        self._meter.loads(len(indices))
        self._sifter.handed(indices)
        self._count(len(indices))
        self._given_full = len(indices) == self._batch_size
        self._given_timed = self._timed()
        self._given_at = self._meter.clock()
        return batch

    def close(self) -> None:
        """The script has left the loop, or come to its end."""
        self._close(at_end=False)

    def abandon(self) -> None:
        """Nothing of this epoch is held back."""
        self.close()

    def _close(self, *, at_end: bool) -> None:
        if self._closed:
            return
        self._closed = True
        self._sifter.end_epoch(complete=self._given >= self._to_give, at_end=at_end)
        self._meter.epoch_ended()

    def _count(self, samples: int) -> None:
        self._given += samples
        self._see(*self._passed(self._given))
        self._meter.whole_batch(samples)

    def _passed(self, given: int) -> tuple[int, int]:
        """Samples and batches of the plain epoch that are behind the script after so many samples:
        those, and what was passed over on the way to them, in proportion."""
        whole = min(given, self._whole)
        samples = whole
        if given > whole:
            to_see, to_choose = self._to_see - whole, max(1, self._to_give - whole)
            samples += -(-to_see * (given - whole) // to_choose)
        return samples, -(-samples // self._batch_size)

    def _see(self, samples: int, batches: int) -> None:
        self._meter.passed(samples - self._seen, batches - self._batches_seen)
        self._seen, self._batches_seen = samples, batches

    def _come_again(self, untouched: int) -> None:
        """A script that had fetched ahead when it was interrupted is given again what it had not
        trained on, and what is counted already."""
        counted = min(self._meter.counted_ahead * self._batch_size, self._to_give)
        if counted > untouched:
            seen, batches_seen = self._passed(counted)
            self._meter.take_back(
                counted - untouched,
                -(-counted // self._batch_size) - -(-untouched // self._batch_size),
                seen - self._seen,
                batches_seen - self._batches_seen,
            )

    def _timed(self) -> bool:
        """Whether the clock, read at the next batch, shows the training step to its end."""
        if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            return True
        if self._meter.measured_steps >= STEPS_MEASURED:
            return False
        torch.cuda.synchronize()
        return True

    def _settle_step(self) -> None:
        """Count the training step on the batch given last."""
        if self._given_at is None:
            return
        if self._given_timed and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
        trained, self._given_at = self._meter.clock() - self._given_at, None
        if not self._sifter.trained_here:
            return  # a resumed script passes over what it has trained on: that is no step
        self._meter.step(trained, measured=self._given_full and self._given_timed)
