"""The changing half of a job's description, in SageMaker's words. Pure functions on a dict.

Times are seconds since the epoch here, and datetimes only in what `describe` returns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

Status: TypeAlias = dict[str, Any]

ENDED = frozenset({"Completed", "Failed", "Stopped"})
MAX_REASON = 1024

# When a job has its instances, and is billed for them.
_ON_INSTANCES = frozenset({"Downloading", "Training", "Stopping", "Uploading"})

_MESSAGES = {
    "Starting": "Starting the training job",
    "Downloading": "Bringing the code and the channels",
    "Training": "The script is running",
    "Stopping": "Stopping the training job",
    "Uploading": "Collecting the model and the outputs",
    "Completed": "The training job completed",
    "Failed": "The training job failed",
    "Stopped": "The training job was stopped",
    "Interrupted": "The spot instances were taken back; the job begins again on others",
    "MaxRuntimeExceeded": "The training job reached its longest run time and was stopped",
    "MaxWaitTimeExceeded": "The training job reached its longest wait time and was stopped",
}


def created(now: float) -> Status:
    """The status of a job that has just been taken."""
    status: Status = {"CreationTime": now, "SecondaryStatusTransitions": []}
    return entered(status, "InProgress", "Starting", now)


def entered(status: Status, primary: str, secondary: str, now: float) -> Status:
    """`status` after the job went over to `secondary`: a new dict."""
    transitions = [dict(each) for each in status["SecondaryStatusTransitions"]]
    if transitions:
        transitions[-1].setdefault("EndTime", now)
    transitions.append(
        {"Status": secondary, "StartTime": now, "StatusMessage": _MESSAGES[secondary]}
    )
    starts = secondary == "Downloading" and "TrainingStartTime" not in status
    times = {"TrainingStartTime": now} if starts else {}
    return status | times | {
        "TrainingJobStatus": primary,
        "SecondaryStatus": secondary,
        "SecondaryStatusTransitions": transitions,
        "LastModifiedTime": now,
    }  # fmt: skip


def ended(
    status: Status,
    primary: str,
    now: float,
    *,
    secondary: str | None = None,
    reason: str | None = None,
    model: str | None = None,
) -> Status:
    """`status` of the job that is over: `Completed`, `Failed` or `Stopped`, a new dict.

    A job trains from when it has its instances to its end; what it is billed for is without the
    times between an interruption and the next start.
    """
    status = entered(status, primary, secondary or primary, now)
    status["SecondaryStatusTransitions"][-1]["EndTime"] = now
    status["TrainingEndTime"] = now
    if "TrainingStartTime" in status:
        billable = _seconds_on_instances(status["SecondaryStatusTransitions"])
        status |= {
            "TrainingTimeInSeconds": math.ceil(now - status["TrainingStartTime"]),
            "BillableTimeInSeconds": math.ceil(billable),
        }
    if reason is not None:
        status["FailureReason"] = reason[:MAX_REASON]
    if model is not None:
        status["ModelArtifacts"] = {"S3ModelArtifacts": model}
    return status


def _seconds_on_instances(transitions: Sequence[dict[str, Any]]) -> float:
    return math.fsum(
        each["EndTime"] - each["StartTime"]
        for each in transitions
        if each["Status"] in _ON_INSTANCES
    )
