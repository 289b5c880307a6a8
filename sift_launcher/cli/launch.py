"""Running a plan in the foreground: live log, Ctrl-C, and the last words."""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, TextIO

from sift_launcher.console import LiveLog, say
from sift_launcher.errors import JobFailed, JobHasEnded, JobInterrupted, ResourceNotFound
from sift_launcher.follow import follow
from sift_launcher.instances import in_words
from sift_launcher.local.service import LocalTrainingService
from sift_launcher.local.standby import Standby
from sift_launcher.local.status import Status
from sift_launcher.plan import Plan
from sift_launcher.submit import submit


def launch(plan: Plan, standby: Standby, *, wait: bool, as_json: bool) -> None:
    """Submits `plan` and, with `wait`, shows its log until it has ended.

    `standby` supervises the job. Raises JobFailed or JobInterrupted when it did not complete.
    """
    service = LocalTrainingService(share=plan.share, standby=standby)
    if not wait:
        submit(plan, service)
        if plan.note:
            say(plan.note)
        _print_job(service, plan.name, as_json)
        return
    # Counted, not raised: an interrupt finds a job that is there, and no line of its log half read.
    with _Interrupts() as interrupts:
        submit(plan, service)
        if plan.note:
            say(plan.note)
        where = in_words(plan.request["ResourceConfig"])
        say(f"job {plan.name} runs {where}; Ctrl-C stops it")
        with live_log(sys.stderr if as_json else sys.stdout) as log:
            react = partial(interrupts.pass_on, service, plan.name, log)
            try:
                status = follow(service, plan.name, log, react)
            except BrokenPipeError:
                say(f"nobody reads the log any more; job {plan.name} goes on")
                raise
    if as_json:
        _print_job(service, plan.name, as_json)
    conclude(service, plan.name, status)


def live_log(stream: TextIO) -> LiveLog:
    """A log on `stream`, with a status line where that is a terminal that can erase one."""
    return LiveLog(stream.buffer, stream.isatty() and os.environ.get("TERM") != "dumb")


def conclude(service: LocalTrainingService, name: str, status: Status) -> None:
    """The last line of a job that has ended. Raises JobFailed or JobInterrupted."""
    from sift_launcher.receipts import results_folder

    record = service.record(name)
    results = results_folder(record)
    if status["TrainingJobStatus"] == "Failed":
        raise JobFailed(f"job {name} failed: {_cause(status['FailureReason'])}; log: {record.log}")
    ended = status["SecondaryStatus"]
    if ended == "Stopped":
        raise JobInterrupted(f"job {name} was stopped; its outputs are in {results}")
    if ended == "MaxRuntimeExceeded":
        raise JobFailed(
            f"job {name} was stopped after its --max-run of "
            f"{record.request()['StoppingCondition']['MaxRuntimeInSeconds']} s; "
            f"its outputs are in {results}"
        )
    seconds = status["TrainingEndTime"] - status["CreationTime"]
    told = f"job {name} completed in {seconds:.1f} s{_receipt(service, name)}; outputs: {results}"
    if (results / "code").is_dir():
        told += "; in code/ what it wrote into its working folder"
    say(told)


def to_json(value: Any) -> str:
    """`value` as indented JSON, times in ISO 8601."""
    return json.dumps(value, indent=2, default=_iso)


class _Interrupts:
    """Ctrl-C within the context: the first stops the job, the second kills it."""

    def __init__(self) -> None:
        self._wanted = 0
        self._passed_on = 0

    def __enter__(self) -> _Interrupts:
        self._before = signal.signal(signal.SIGINT, self._count)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def pass_on(self, service: LocalTrainingService, name: str, log: LiveLog) -> None:
        """Does what the interrupts so far want of the job."""
        if self._wanted == self._passed_on:
            return
        self._passed_on = self._wanted
        log.show("")
        try:
            if self._wanted == 1:
                service.stop_training_job(TrainingJobName=name)
                say(f"stopping job {name} and keeping its outputs; Ctrl-C again kills it")
            else:
                service.kill_training_job(TrainingJobName=name)
                say(f"killing job {name}; its outputs are kept")
        except JobHasEnded:
            return  # it was faster than the user

    def _count(self, number: int, frame: object) -> None:
        self._wanted += 1


def _print_job(service: LocalTrainingService, name: str, as_json: bool) -> None:
    told = to_json(service.describe_training_job(TrainingJobName=name)) if as_json else name
    sys.stdout.write(told + "\n")


def _receipt(service: LocalTrainingService, name: str) -> str:
    from sift_launcher.receipts import job_receipt, one_line

    try:
        receipt, _ = job_receipt(service.record(name))
    except ResourceNotFound:
        return ""
    return f": {one_line(receipt)}"


def _cause(reason: str) -> str:
    """The reason's first line, and the exit code when that is the second."""
    lines = reason.splitlines() or [""]
    second = lines[1] if len(lines) > 1 and lines[1].startswith("exit code") else ""
    return f"{lines[0]} ({second})" if second else lines[0]


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")
