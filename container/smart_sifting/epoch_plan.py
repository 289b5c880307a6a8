"""How many samples and batches a sifted epoch gives: arithmetic alone, so that ranks agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from smart_sifting.sift_config.job_config import SiftConfig


@dataclass(frozen=True)
class EpochPlan:
    """The length of one sifted epoch, known before it starts.

    Attributes:
        samples: samples that the plain loader gives in an epoch.
        batch_size: samples in a full batch.
        keep: the share to keep, 0 < keep <= 1.
        drop_last: whether the plain loader drops a last short batch. Then the sifted epoch is a
            whole number of batches too, so that nothing is left over at its end.
        delay: batches that are given whole before the quota starts.
    """

    samples: int
    batch_size: int
    keep: float
    drop_last: bool = False
    delay: int = 0

    @property
    def delayed_samples(self) -> int:
        return min(self.delay * self.batch_size, self.samples)

    @property
    def kept(self) -> int:
        """Samples that the epoch keeps."""
        sifted = self.samples - self.delayed_samples
        kept = self.delayed_samples + round_half_up(sifted * self.keep)
        if self.drop_last:
            whole_batches = max(1, kept // self.batch_size)
            return min(self.samples, whole_batches * self.batch_size)
        return min(self.samples, max(1, kept))

    @property
    def batches(self) -> int:
        """Batches that the epoch gives, a last short one included."""
        return -(-self.kept // self.batch_size)

    def rest(self, given: int) -> EpochPlan:
        """What is left of it once so many samples, fewer than all, were given whole."""
        samples = self.samples - given
        left = min(1.0, max(0, self.kept - given) / samples)
        return EpochPlan(samples, self.batch_size, left, self.drop_last)


DataName: TypeAlias = "list[str | int | None]"
"""What tells that two loaders are over the same data: the data set's class and its length."""


@dataclass(frozen=True)
class Shape:
    """What a loader says of its epochs before it runs. None: it does not say.

    `skipped` batches of the first epoch were given before an interruption, and the loader leaves
    out as many; `samples` are those that it still gives.
    """

    samples: int | None
    batch_size: int | None
    drop_last: bool = False
    skipped: int = 0

    @property
    def whole(self) -> Shape:
        """That of the epoch that was interrupted."""
        if self.samples is None or self.batch_size is None:
            return self
        return Shape(self.samples + self.skipped * self.batch_size, self.batch_size, self.drop_last)


def planned_epoch(config: SiftConfig, shape: Shape, delay: int) -> EpochPlan | None:
    """An epoch with `delay` whole batches first; None when its length is not known or not fixed."""
    if shape.samples is None or shape.batch_size is None or config.acceptance == "probabilistic":
        return None
    if not shape.skipped or not shape.samples:
        return EpochPlan(shape.samples, shape.batch_size, config.keep, shape.drop_last, delay)
    given = shape.skipped * shape.batch_size
    samples = shape.samples + given
    return EpochPlan(samples, shape.batch_size, config.keep, shape.drop_last, delay).rest(given)


class Quota:
    """How many of the next window's samples to keep so that the epoch ends on its plan exactly.

    The target is a straight line from where sifting starts to the plan's end, rounded at each
    window, so no window is far off and the total is exact. Without a plan (the length of the
    epoch is unknown) the line has the slope `keep`.
    """

    def __init__(self, keep: float, plan: EpochPlan | None = None) -> None:
        self.keep = keep
        self.seen = 0
        self.kept = 0
        self._plan = plan
        self._start_seen = 0
        self._start_kept = 0

    def untouched(self, samples: int) -> None:
        """Count samples that were given whole; those that follow make up for them."""
        self.spend(samples, samples)
        self._start_seen, self._start_kept = self.seen, self.kept

    def grant(self, window: int) -> int:
        """How many of the next `window` samples to keep."""
        return min(window, max(0, self._target(self.seen + window) - self.kept))

    def room(self) -> int | None:
        """How many samples the epoch may still keep; None when its length is unknown."""
        return None if self._plan is None else max(0, self._plan.kept - self.kept)

    def spend(self, seen: int, kept: int) -> None:
        self.seen += seen
        self.kept += kept

    def _target(self, seen: int) -> int:
        passed = seen - self._start_seen
        if self._plan is None:
            return self._start_kept + round_half_up(passed * self.keep)
        ahead = self._plan.samples - self._start_seen
        to_keep = self._plan.kept - self._start_kept
        if ahead <= 0 or to_keep <= 0:
            return self._start_kept
        # Integers throughout: the same rounding on every rank and machine.
        return self._start_kept + (2 * to_keep * min(passed, ahead) + ahead) // (2 * ahead)


def round_half_up(value: float) -> int:
    return int(value + 0.5)
