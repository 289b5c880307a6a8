"""Each way in which a job can end has its sentence, and its exit code."""

from __future__ import annotations

from typing import Any

import pytest

from sift_launcher.cost import Cost
from sift_launcher.ending import cause, completed, not_completed

STOPPING = {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}


def told(primary: str, secondary: str, **more: Any) -> tuple[int, str]:
    status = {"TrainingJobStatus": primary, "SecondaryStatus": secondary} | more
    error = not_completed("job", status, STOPPING, "s3://b/job/output", "LOG")
    assert error is not None
    return error.exit_code, str(error)


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (
            "AlgorithmError: ValueError: bad\nexit code 1\nTraceback ...\n, exit code: 1",
            "AlgorithmError: ValueError: bad (exit code 1)",
        ),
        (
            "AlgorithmError: , exit code: 137",
            "AlgorithmError: , exit code: 137: most likely out of memory: a smaller batch, or an "
            "instance with more",
        ),
        (
            'AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "raise x\n'
            'KeyError: lr"\nCommand "/usr/bin/python3 train.py", exit code: 1',
            "KeyError: lr (exit code 1)",
        ),
        (
            'AlgorithmError: ExecuteUserScriptError:\nExitCode 3\nErrorMessage "exit code 3", '
            "exit code: 3",
            "exit code 3",
        ),
        (
            "CapacityError: Unable to provision requested ML compute capacity. Please retry using "
            "a different ML instance type or after some time.",
            "CapacityError: Unable to provision requested ML compute capacity. Please retry using "
            "a different ML instance type or after some time.: AWS has no such instance free now, "
            "and nothing is billed: try again later, or with another --instance or --region",
        ),
        (
            "InternalServerError: We encountered an internal error. Please try again.",
            "InternalServerError: We encountered an internal error. Please try again.: this is "
            "SageMaker's own fault: launch it again, or let --retries N do that",
        ),
        ("ClientError: Data download failed", "ClientError: Data download failed"),
    ],
)
def test_a_failure_has_its_reason_and_its_mend(reason: str, sentence: str):
    assert told("Failed", "Failed", FailureReason=reason) == (
        1,
        f"job job failed: {sentence}; log: LOG",
    )


def test_a_job_that_was_stopped_is_an_interrupt():
    assert told("Stopped", "Stopped", TrainingStartTime=1.0) == (
        130,
        "job job was stopped; its outputs are in s3://b/job/output",
    )


def test_a_job_that_was_stopped_while_it_was_pending_left_nothing():
    assert told("Stopped", "Stopped") == (
        130,
        "job job was stopped before it trained: it has no outputs",
    )


def test_a_job_past_its_run_time_failed():
    assert told("Stopped", "MaxRuntimeExceeded") == (
        1,
        "job job was stopped after its --max-run of 3600 s; its outputs are in s3://b/job/output",
    )


def test_a_job_past_its_waiting_time_failed():
    assert told("Stopped", "MaxWaitTimeExceeded") == (
        1,
        "job job was stopped after its --max-wait of 7200 s, which the waiting for spot instances "
        "is part of: raise --max-wait, or leave --spot out; its outputs are in s3://b/job/output",
    )


def test_a_job_that_completed_is_no_error():
    status = {"TrainingJobStatus": "Completed", "SecondaryStatus": "Completed"}
    assert not_completed("job", status, STOPPING, "", "") is None


def test_the_last_line_says_what_it_took_and_cost():
    status = {"CreationTime": 10.0, "TrainingEndTime": 100.5, "BillableTimeInSeconds": 45}
    assert completed("job", status, Cost(0.13), "kept 5 of 10", "s3://b/job/output") == (
        "job job completed in 90.5 s ($0.13 for 45 s billed): kept 5 of 10; "
        "outputs: s3://b/job/output"
    )
    assert completed("job", status, Cost(0.0), "", "here") == (
        "job job completed in 90.5 s; outputs: here"
    )
    assert (
        completed("job", status, None, "", "here") == "job job completed in 90.5 s; outputs: here"
    )


@pytest.mark.parametrize(
    ("reason", "first"),
    [
        ("", ""),
        ("\n\nexit code 3", "exit code 3"),
        ("ValueError: x\nexit code 1\nTraceback", "ValueError: x (exit code 1)"),
    ],
)
def test_a_cause_is_one_line(reason: str, first: str):
    assert cause(reason) == first
