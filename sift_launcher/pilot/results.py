"""What the runs of a pilot came to, and how two arms compare. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from sift_launcher.pilot.arms import Arm, Trial
from sift_launcher.pilot.metric import Found
from smart_sifting.receipt import Receipt

# 0.2 points: of 100, of a share between 0 and 1, and in percent where no full mark is known.
_POINTS, _SHARE = 0.2, 0.002
_ROUNDING = 1e-9

EVENLY = "batch"
"""The receipt's tier of a job that chose its samples without a preference."""


@dataclass(frozen=True)
class Measurement:
    """What one run came to."""

    job: str
    samples: int
    """Samples trained on, each as often as it was."""

    seconds: float
    """Of training, with its data and with all that sifting costs; without evaluations."""

    job_seconds: float
    """Of the whole job, from its first to its last moment on the machine."""

    metric: float
    line: str
    """The line of the log that the metric stands in."""

    tier: str
    reason: str


@dataclass(frozen=True)
class Result:
    """What an arm came to: means over its runs."""

    arm: Arm
    runs: tuple[Measurement, ...]

    @property
    def samples(self) -> float:
        """Samples trained on."""
        return fmean(run.samples for run in self.runs)

    @property
    def seconds(self) -> float:
        """Seconds of training."""
        return fmean(run.seconds for run in self.runs)

    @property
    def metric(self) -> float:
        """The figure that arms are compared by."""
        return fmean(run.metric for run in self.runs)

    @property
    def standard_error(self) -> float | None:
        """Of the metric; None for a single run."""
        if len(self.runs) < 2:
            return None
        return stdev(run.metric for run in self.runs) / math.sqrt(len(self.runs))

    @property
    def tier(self) -> str:
        """What was done in most words that fit: the tiers of its runs."""
        return ", ".join(dict.fromkeys(run.tier for run in self.runs))

    @property
    def is_even(self) -> bool:
        """Whether its samples were chosen without a preference, as it was asked for or because
        nothing else could be."""
        return self.tier == EVENLY

    @property
    def is_as_meant(self) -> bool:
        """Whether a control was one: a script's data may not let samples be spread evenly."""
        return self.arm.kind != "even" or self.is_even


@dataclass(frozen=True)
class Yardstick:
    """When one arm is as good as another."""

    lower_is_better: bool = False
    tolerance: float | None = None
    """By how much a metric may be worse, in its own unit. None: 0.2 points, or the standard error
    of the difference where runs were repeated and that is more."""

    def shortfall(self, one: Result, than: Result) -> float:
        """By how much `one` is worse; negative when it is better."""
        worse = than.metric - one.metric
        return -worse if self.lower_is_better else worse

    def allowed(self, one: Result, than: Result) -> float:
        """By how much `one` may be worse."""
        if self.tolerance is not None:
            return self.tolerance
        errors = (each.standard_error or 0.0 for each in (one, than))
        return max(self._points(than), math.hypot(*errors))

    def is_as_good(self, one: Result, than: Result) -> bool:
        """Whether `one` is no worse than is allowed; never when a figure is not finite."""
        slack = _ROUNDING * abs(than.metric)
        return self.shortfall(one, than) <= self.allowed(one, than) + slack

    def _points(self, than: Result) -> float:
        if self.lower_is_better:
            return _SHARE * abs(than.metric)
        return _SHARE if abs(than.metric) <= 1 else _POINTS


def measured(
    trial: Trial, job: str, job_seconds: float, receipt: Receipt, found: Found
) -> Measurement:
    """The measurement of a trial. Plain training is not charged for what the runtime looked at: an
    unsifted job has none of it."""
    seconds = receipt.seconds
    is_plain = trial.arm.kind == "plain"
    return Measurement(
        job=job,
        samples=receipt.samples.kept - receipt.samples.left_over,
        seconds=seconds.training + seconds.data if is_plain else seconds.spent,
        job_seconds=job_seconds,
        metric=found.value,
        line=found.line,
        tier=receipt.tier,
        reason=receipt.reason,
    )


def results(measurements: Mapping[Trial, Measurement]) -> Sequence[Result]:
    """The arms that have run, in the order in which they were tried."""
    arms = dict.fromkeys(trial.arm for trial in measurements)
    return [
        Result(arm, tuple(run for trial, run in measurements.items() if trial.arm == arm))
        for arm in arms
    ]


def is_control_already(trial: Trial, measurements: Mapping[Trial, Measurement]) -> bool:
    """Whether `trial` would repeat its share's other run, which had no preference itself."""
    if trial.arm.kind != "even":
        return False
    other = measurements.get(replace(trial, arm=replace(trial.arm, kind="sifted")))
    return other is not None and other.tier == EVENLY


def shown(figure: float) -> str:
    """A metric for a reader: four digits behind the point, two of what is counted to 100."""
    if abs(figure) < 10:
        return f"{figure:.4f}"
    return f"{figure:.2f}" if abs(figure) < 10_000 else f"{figure:.5g}"
