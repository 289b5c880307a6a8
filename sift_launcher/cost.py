"""What a job has cost. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sift_launcher.catalogue import CloudEntry
from sift_launcher.local.status import Status


@dataclass(frozen=True)
class Cost:
    """US dollars, up to now."""

    dollars: float
    is_estimate: bool = False
    """Made of the time that went by, not of the seconds that are billed."""

    def __str__(self) -> str:
        return f"{'~' if self.is_estimate else ''}${self.dollars:.2f}"


def cost_of(entry: CloudEntry, status: Status, now: float) -> Cost | None:
    """What the job of `entry` has cost at `now`, in seconds since the epoch; None without a price.

    SageMaker bills `BillableTimeInSeconds` of every instance at the price on demand; what managed
    spot saves, it takes off those seconds. They are told at the end: until then the time that went
    by stands for them, which of a spot job is more than will be billed. Source: the API reference
    of DescribeTrainingJob.
    """
    if entry.is_rehearsal:
        return Cost(0.0)
    if entry.dollars_per_hour is None:
        return None
    seconds = status.get("BillableTimeInSeconds")
    is_estimate = seconds is None
    if seconds is None:
        seconds = _elapsed(status, now)
    return Cost(entry.dollars_per_hour * entry.count * seconds / 3600, is_estimate)


def _elapsed(status: Status, now: float) -> float:
    """Seconds since training began; of a summary, which does not tell that, since it was taken."""
    if "SecondaryStatusTransitions" in status and "TrainingStartTime" not in status:
        return 0.0
    start = status["TrainingStartTime" if "TrainingStartTime" in status else "CreationTime"]
    end = status.get("TrainingEndTime", now)
    return float(max(0.0, end - start))
