"""The changing half of a job's description, in SageMaker's words. Pure functions on a dict.

Times are seconds since the epoch here, and datetimes only in what `describe` returns.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

Status: TypeAlias = dict[str, Any]

ENDED = frozenset({"Completed", "Failed", "Stopped"})
MAX_REASON = 1024

_MESSAGES = {
    "Starting": "Starting the training job",
    "Downloading": "Laying out the code and the channels",
    "Training": "The script is running",
    "Stopping": "Stopping the training job",
    "Uploading": "Collecting the model and the outputs",
    "Completed": "The training job completed",
    "Failed": "The training job failed",
    "Stopped": "The training job was stopped",
    "MaxRuntimeExceeded": "The training job reached its longest run time and was stopped",
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
    times = {"TrainingStartTime": now} if secondary == "Training" else {}
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
    """`status` of the job that is over: `Completed`, `Failed` or `Stopped`, a new dict."""
    status = entered(status, primary, secondary or primary, now)
    status["SecondaryStatusTransitions"][-1]["EndTime"] = now
    status["TrainingEndTime"] = now
    if "TrainingStartTime" in status:
        seconds = math.ceil(now - status["TrainingStartTime"])
        status |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
    if reason is not None:
        status["FailureReason"] = reason[:MAX_REASON]
    if model is not None:
        status["ModelArtifacts"] = {"S3ModelArtifacts": model}
    return status
