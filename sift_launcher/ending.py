"""How a job ended, in one sentence that says what to do about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sift_launcher.cost import Cost
from sift_launcher.errors import JobFailed, JobInterrupted, SiftLaunchError
from sift_launcher.local.status import Status

# Sources: the API reference of DescribeTrainingJob (FailureReason, SecondaryStatus), and the
# toolkit's own failure file, which says ErrorMessage "...".
_TOOLKIT_MESSAGE = re.compile(
    r'ErrorMessage "(.*?)"(?=\s*(?:\nCommand\b|, exit code|$))', re.DOTALL
)
_EXIT_CODE = re.compile(r"exit code:? (\d+)", re.IGNORECASE)
_MEMORY = re.compile(r"exit code:? 137\b|OutOfMemory|MemoryError", re.IGNORECASE)
_MENDS = (
    (
        "CapacityError",
        "AWS has no such instance free now, and nothing is billed: try again later, or with "
        "another --instance or --region",
    ),
    (
        "InternalServerError",
        "this is SageMaker's own fault: launch it again, or let --retries N do that",
    ),
    (
        "ResourceLimitExceeded",
        "the account's quota is used up: wait for another job to end, or have it raised",
    ),
)


def not_completed(
    name: str, status: Status, stopping: Mapping[str, Any], results: str, log_place: str
) -> SiftLaunchError | None:
    """The error of a job that has ended with `status`; None when it completed.

    `stopping` is the request's StoppingCondition; `results` and `log_place` are where its outputs
    and its log are.
    """
    ended = status["SecondaryStatus"]
    if status["TrainingJobStatus"] == "Failed":
        reason = status.get("FailureReason", "no reason is told")
        return JobFailed(f"job {name} failed: {cause(reason)}{_mend(reason)}; log: {log_place}")
    if ended == "MaxRuntimeExceeded":
        return JobFailed(
            f"job {name} was stopped after its --max-run of {stopping['MaxRuntimeInSeconds']} s; "
            f"its outputs are in {results}"
        )
    if ended == "MaxWaitTimeExceeded":
        return JobFailed(
            f"job {name} was stopped after its --max-wait of {stopping['MaxWaitTimeInSeconds']} s, "
            "which the waiting for spot instances is part of: raise --max-wait, or leave --spot "
            f"out; its outputs are in {results}"
        )
    if status["TrainingJobStatus"] == "Stopped" and "TrainingStartTime" not in status:
        return JobInterrupted(f"job {name} was stopped before it trained: it has no outputs")
    if status["TrainingJobStatus"] == "Stopped":
        return JobInterrupted(f"job {name} was stopped; its outputs are in {results}")
    return None


def completed(name: str, status: Status, cost: Cost | None, receipt: str, results: str) -> str:
    """The last line of a job that completed; `receipt` is the line of its receipt, or empty."""
    seconds = status["TrainingEndTime"] - status["CreationTime"]
    told = f"job {name} completed in {seconds:.1f} s"
    if cost is not None and cost.dollars > 0:
        billed = status.get("BillableTimeInSeconds")
        told += f" ({cost}" + (f" for {billed} s billed)" if billed is not None else ")")
    return f"{told}{': ' + receipt if receipt else ''}; outputs: {results}"


def cause(reason: str) -> str:
    """The first line of a FailureReason that says something, and the exit code."""
    code = _EXIT_CODE.search(reason)
    message = _TOOLKIT_MESSAGE.search(reason)
    told = (_last_line(message[1]) if message else "") or _first_line(reason)
    if code is None or _EXIT_CODE.search(told):
        return told
    return f"{told} (exit code {code[1]})"


def _mend(reason: str) -> str:
    if _MEMORY.search(reason):
        return ": most likely out of memory: a smaller batch, or an instance with more"
    return next((f": {mend}" for start, mend in _MENDS if reason.startswith(start)), "")


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
