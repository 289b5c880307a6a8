"""Running a plan in the foreground: live log, Ctrl-C, and the last words."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from sift_launcher.console import LiveLog, StatusLine, say
from sift_launcher.ending import completed, not_completed
from sift_launcher.errors import (
    CloudUnreachable,
    JobHasEnded,
    JobInterrupted,
    ResourceNotFound,
    SiftLaunchError,
)
from sift_launcher.follow import follow
from sift_launcher.jobs import Job
from sift_launcher.local.status import Status

if TYPE_CHECKING:
    from sift_launcher.cloud.job import CloudJob
    from sift_launcher.local.standby import Standby
    from sift_launcher.plan import Plan

_LAST_LINES = 10


def launch(plan: Plan, standby: Standby, *, wait: bool, as_json: bool) -> None:
    """Submits `plan` to this machine and, with `wait`, shows its log until it has ended.

    `standby` supervises the job. Raises JobFailed or JobInterrupted when it did not complete.
    """
    from sift_launcher.instances import in_words
    from sift_launcher.local.job import LocalJob
    from sift_launcher.local.service import LocalTrainingService
    from sift_launcher.submit import submit

    service = LocalTrainingService(share=plan.share, standby=standby)
    job = LocalJob(plan.name, service)
    if not wait:
        submit(plan, service)
        if plan.note:
            say(plan.note)
        _print_job(job, as_json)
        return
    # Counted, not raised: an interrupt finds a job that is there, and no line of its log half read.
    with _Interrupts() as interrupts:
        submit(plan, service)
        if plan.note:
            say(plan.note)
        where = in_words(plan.request["ResourceConfig"])
        say(f"job {job.name} runs {where}; Ctrl-C stops it")
        status = _followed(job, interrupts, as_json)
    if as_json:
        _print_job(job, as_json)
    conclude(job, status)


def launch_quietly(plan: Plan, standby: Standby) -> None:
    """Submits `plan` to this machine and waits for its end, with a status line and without its log.

    `standby` supervises the job. Raises JobFailed when it did not complete, and JobInterrupted
    after any Ctrl-C.
    """
    from sift_launcher.local.job import LocalJob
    from sift_launcher.local.service import LocalTrainingService
    from sift_launcher.submit import submit

    service = LocalTrainingService(share=plan.share, standby=standby)
    job = LocalJob(plan.name, service)
    with _Interrupts() as interrupts:
        submit(plan, service)
        with StatusLine(sys.stderr.buffer, _can_erase(sys.stderr)) as line:
            status = follow(job, line, partial(interrupts.pass_on, job, line))
    stopping = job.describe()["StoppingCondition"]
    error = not_completed(job.name, status, stopping, job.results(), job.log_place())
    if error is not None:
        raise error
    if interrupts.came:
        raise JobInterrupted(f"job {job.name} completed as it was interrupted")


def launch_cloud(plan: Plan, *, wait: bool, as_json: bool) -> None:
    """Submits `plan` to SageMaker, or to its rehearsal, and follows it as `launch` does."""
    from sift_launcher.estimator.submit import submit_to_sagemaker

    job = _cloud_job(plan)
    try:
        submit_to_sagemaker(plan, say)
    except KeyboardInterrupt:
        _stop_what_was_accepted(job)
        raise
    job = _cloud_job(plan)
    if not wait:
        _print_job(job, as_json)
        return
    with _Interrupts() as interrupts:
        page = job.console()
        link = f"; {page}" if page else ""
        say(f"job {job.name} runs in {_place(plan)}; Ctrl-C stops it{link}")
        try:
            status = _followed(job, interrupts, as_json)
        except (JobInterrupted, ResourceNotFound):
            raise
        except SiftLaunchError:
            say(f"{_goes_on(job)}: sift-launch logs {job.name} --follow")
            raise
    if as_json:
        _print_job(job, as_json)
    conclude(job, status)


def live_log(stream: TextIO) -> LiveLog:
    """A log on `stream`, with a status line where that is a terminal that can erase one."""
    return LiveLog(stream.buffer, _can_erase(stream))


def conclude(job: Job, status: Status) -> None:
    """The last line of a job that has ended. Raises JobFailed or JobInterrupted."""
    stopping = {}
    if status["SecondaryStatus"] in ("MaxRuntimeExceeded", "MaxWaitTimeExceeded"):
        stopping = job.describe()["StoppingCondition"]
    results = job.results()
    error = not_completed(job.name, status, stopping, results, job.log_place())
    if error is not None:
        if status["TrainingJobStatus"] == "Failed" and _log_is_elsewhere():
            for line in job.last_lines(_LAST_LINES):
                say(f"  {line}")
        raise error
    told = completed(job.name, status, job.cost(status), _receipt(job), results)
    say(told + job.further_results())


def to_json(value: Any) -> str:
    """`value` as indented JSON, times in ISO 8601."""
    return json.dumps(value, indent=2, default=_iso)


class _Interrupts:
    """Ctrl-C within the context: the first stops the job; the second kills it, or leaves one that
    cannot be killed."""

    def __init__(self) -> None:
        self._wanted = 0
        self._passed_on = 0
        self._is_stopping = False

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

    @property
    def came(self) -> bool:
        """Whether there was any."""
        return self._wanted > 0

    def pass_on(self, job: Job, log: LiveLog) -> None:
        """Does what the interrupts so far want of the job. Raises JobInterrupted to leave it."""
        if self._wanted == self._passed_on:
            return
        self._passed_on = self._wanted
        try:
            if self._wanted == 1:
                self._stop(job, log)
            elif job.can_be_killed:
                job.stop(kill=True)
                log.say(f"killing job {job.name}; its outputs are kept")
            else:
                self._leave(job)
        except JobHasEnded:
            return  # it was faster than the user

    def _stop(self, job: Job, log: LiveLog) -> None:
        try:
            job.stop()
        except CloudUnreachable as error:
            log.say(f"{error}: {_goes_on(job)}; Ctrl-C again leaves it running")
            return
        self._is_stopping = True
        more = "Ctrl-C again kills it"
        if not job.can_be_killed:
            cost = ", which cost" if job.can_cost else ""
            more = f"it has two minutes for it{cost}; Ctrl-C again leaves it to that"
        log.say(f"stopping job {job.name} and keeping its outputs; {more}")

    def _leave(self, job: Job) -> None:
        if not self._is_stopping:
            raise JobInterrupted(f"{_goes_on(job)}: sift-launch stop {job.name}")
        raise JobInterrupted(
            f"job {job.name} is being stopped; sift-launch status {job.name} tells when it has"
        )

    def _count(self, number: int, frame: object) -> None:
        self._wanted += 1


def _can_erase(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _followed(job: Job, interrupts: _Interrupts, as_json: bool) -> Status:
    with live_log(sys.stderr if as_json else sys.stdout) as log:
        react: Callable[[], None] = partial(interrupts.pass_on, job, log)
        try:
            return follow(job, log, react)
        except BrokenPipeError:
            say(f"nobody reads the log any more; job {job.name} goes on")
            raise


def _cloud_job(plan: Plan) -> CloudJob:
    """The job that the plan makes, whether it is there already or not."""
    from sift_launcher import catalogue
    from sift_launcher.cloud.job import CloudJob

    if plan.cloud is None:
        raise ValueError("the plan is for this machine")
    resources = plan.request["ResourceConfig"]
    made = catalogue.CloudEntry(
        name=plan.name,
        arn=(
            f"arn:{plan.cloud.partition}:sagemaker:{plan.cloud.region}:{plan.cloud.account}"
            f":training-job/{plan.name}"
        ),
        region=plan.cloud.region,
        instance=resources["InstanceType"],
        count=resources["InstanceCount"],
        created=datetime.now().timestamp(),
        profile=plan.cloud.profile,
        endpoint=plan.cloud.endpoint,
        is_rehearsal=plan.is_rehearsal,
        dollars_per_hour=None if plan.cloud.prices is None else plan.cloud.prices.on_demand,
    )
    known = catalogue.entry(plan.name)
    is_same = known is not None and (known.arn, known.endpoint) == (made.arn, made.endpoint)
    return CloudJob(known if known is not None and is_same else made)


def _stop_what_was_accepted(job: CloudJob) -> None:
    """An interrupt may come between SageMaker's taking a job and its saying so."""
    try:
        job.stop()
    except (ResourceNotFound, JobHasEnded):
        return
    except SiftLaunchError as error:
        say(f"whether job {job.name} was started is not known ({error}): sift-launch jobs tells")
        return
    say(f"job {job.name} had just been started; it is being stopped")


def _goes_on(job: Job) -> str:
    return f"job {job.name} goes on" + (", and costs" if job.can_cost else "")


def _place(plan: Plan) -> str:
    resources = plan.request["ResourceConfig"]
    count, instance = resources["InstanceCount"], resources["InstanceType"]
    hosts = instance if count == 1 else f"{count} x {instance}"
    spot = " (spot)" if plan.request.get("EnableManagedSpotTraining") else ""
    if plan.is_rehearsal:
        return f"a rehearsal on this machine, which plays {hosts}{spot}"
    region = plan.cloud.region if plan.cloud is not None else ""
    return f"{region} on {hosts}{spot}"


def _log_is_elsewhere() -> bool:
    """Whether the log went into a file or pipe, and these words go to a terminal."""
    return sys.stderr.isatty() and not sys.stdout.isatty()


def _print_job(job: Job, as_json: bool) -> None:
    sys.stdout.write((to_json(job.describe()) if as_json else job.name) + "\n")


def _receipt(job: Job) -> str:
    from sift_launcher.receipts import one_line

    try:
        receipt, _ = job.receipt(quickly=True)
    except ResourceNotFound:
        return ""
    return one_line(receipt)


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")
