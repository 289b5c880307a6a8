"""SageMaker's training service for jobs on this machine."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

from sift_launcher.errors import JobHasEnded, ValidationError
from sift_launcher.local import players
from sift_launcher.local.container_settings import container_settings
from sift_launcher.local.leftovers import remove_left_over
from sift_launcher.local.machine import MachineShare
from sift_launcher.local.process import kill_left_over
from sift_launcher.local.reasons import Reasons
from sift_launcher.local.records import JobRecord, JobRecords, no_such_job
from sift_launcher.local.request_check import check_request
from sift_launcher.local.stand_in import StandIn
from sift_launcher.local.standby import Standby
from sift_launcher.local.status import ENDED, Status, created, ended
from sift_launcher.local.tree import hosts_of
from sift_launcher.validation import is_job_name

STOP_SECONDS = 120.0  # SageMaker's time between SIGTERM and SIGKILL

_LOCAL_REGION, _LOCAL_ACCOUNT = "local", "000000000000"


class LocalTrainingService:
    """Takes SageMaker's requests and runs them here. Methods, arguments and answers are those of
    boto3's SageMaker client; errors are `sift_launcher.errors`.

    All state is in the user's state folder: any number of these objects, in any process, see the
    same jobs.
    """

    def __init__(
        self,
        home: Path | None = None,
        stop_seconds: float | None = None,
        share: MachineShare | None = None,
        standby: Standby | None = None,
        stand_in: StandIn | None = None,
    ) -> None:
        """`home`: the state folder, by default the user's. `stop_seconds`: how long a job has to
        stop by itself, by default $SIFT_LAUNCHER_STOP_SECONDS, else SageMaker's 120. `share`: what
        each container of a job gets of this machine. `standby`: what supervises the first job.
        `stand_in`: how jobs are played that were written for SageMaker; None: they are refused."""
        self._records = JobRecords(home)
        self._stop_seconds = _stop_seconds() if stop_seconds is None else stop_seconds
        self._share = share or MachineShare()
        self._standby = standby
        self._stand_in = stand_in

    def create_training_job(self, **request: Any) -> dict[str, str]:
        """Starts a job and returns at once. Raises ValidationError or ResourceInUse, and for a job
        in Docker EngineUnavailable, ImageUnfit or DeviceUnavailable."""
        check_request(request, self._stand_in)
        name = request["TrainingJobName"]
        arn = _arn(request, self._stand_in)
        settings = {"StopSeconds": self._stop_seconds, "TrainingJobArn": arn}
        settings |= players.to_settings(self._stand_in)
        if players.runs_in_containers(request, self._stand_in):
            jobs = self._records.folder
            settings |= container_settings(request, self._share, jobs, self._stand_in)
        record, lock = self._records.create(name, request, settings, created(time.time()))
        standby, self._standby = self._standby or Standby(), None
        try:
            with standby:
                standby.supervise(record, lock)
        finally:
            os.close(lock)
        return {"TrainingJobArn": arn}

    def describe_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:
        """The request and what became of it. Raises ResourceNotFound.

        A job whose supervisor is gone is marked as failed here, and what it left is killed.
        """
        record = self._record(TrainingJobName)
        return _description(record, self._status(record))

    def stop_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:
        """Asks the job to stop and returns at once. Raises ResourceNotFound or JobHasEnded."""
        return self._ask(TrainingJobName, "stop")

    def kill_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:
        """Stops the job without the time to end by itself; its outputs are kept nonetheless."""
        return self._ask(TrainingJobName, "stop", "kill")

    def interrupt_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:
        """Takes the instances of a spot job back, as of now. Raises ValidationError for one that
        is on no spot instances of a stand-in."""
        record = self._record(TrainingJobName)
        is_spot = record.request().get("EnableManagedSpotTraining", False)
        if not is_spot or players.of_settings(record.settings()) is None:
            raise ValidationError(
                f"job {record.name} is on no spot instance: nothing can interrupt it; start one "
                "with --spot"
            )
        return self._ask(TrainingJobName, "interrupt")

    def list_training_jobs(
        self,
        *,
        StatusEquals: str | None = None,
        NameContains: str | None = None,
        CreationTimeAfter: datetime | None = None,
        CreationTimeBefore: datetime | None = None,
        SortOrder: str = "Descending",
        MaxResults: int | None = None,
        NextToken: str | None = None,
    ) -> dict[str, Any]:
        """Summaries of the jobs by the time they were created, all of them unless `MaxResults`
        says otherwise. Records beyond those that are wanted are not read."""
        names = self.names()
        if SortOrder == "Ascending":
            names.reverse()
        if NextToken is not None:
            names = names[names.index(NextToken) + 1 :] if NextToken in names else []
        after = CreationTimeAfter.timestamp() if CreationTimeAfter else -math.inf
        before = CreationTimeBefore.timestamp() if CreationTimeBefore else math.inf
        summaries = (
            _summary(record, status)
            for record, status in self._all(name for name in names if (NameContains or "") in name)
            if StatusEquals in (None, status["TrainingJobStatus"])
            and after < status["CreationTime"] < before
        )
        listed = list(islice(summaries, MaxResults))
        # Whether there is more is only known by looking.
        more = {"NextToken": listed[-1]["TrainingJobName"]} if listed and any(summaries) else {}
        return {"TrainingJobSummaries": listed} | more

    def record(self, name: str) -> JobRecord:
        """The record of a job that exists. Raises ResourceNotFound."""
        record = self._record(name)
        record.status()
        return record

    def status(self, name: str) -> Status:
        """The changing half of the description, cheap enough to be asked many times a second."""
        return self._status(self._record(name))

    def names(self) -> list[str]:
        """The names of all jobs, newest first."""
        return [record.name for record in self._records]

    def _record(self, name: str) -> JobRecord:
        # Not a name, not a job; and never a path.
        if not is_job_name(name):
            raise no_such_job(name)
        return self._records[name]

    def _all(self, names: Iterable[str]) -> Iterator[tuple[JobRecord, Status]]:
        for name in names:
            record = self._records[name]
            yield record, self._status(record)

    def _status(self, record: JobRecord) -> Status:
        status = record.status()
        if status["TrainingJobStatus"] in ENDED:
            return status
        with record.lock_if_free() as free:
            if free:
                # Once more: it may have ended between the two looks.
                status = record.status()
                return status if status["TrainingJobStatus"] in ENDED else _bury(record, status)
        if record.is_asked("stop"):
            status["TrainingJobStatus"] = "Stopping"
        return status

    def _ask(self, name: str, *wishes: str) -> dict[str, Any]:
        record = self._record(name)
        status = self._status(record)
        if status["TrainingJobStatus"] in ENDED:
            raise JobHasEnded(
                f"job {name} is over ({status['TrainingJobStatus']}): "
                f"there is nothing to {wishes[0]}"
            )
        for wish in wishes:
            record.ask(wish)
        # The supervisor looks for wishes after it has said who it is: without a pid it will see it.
        if pid := record.pid():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        return {}


def _arn(request: dict[str, Any], stand_in: StandIn | None) -> str:
    region, account = _LOCAL_REGION, _LOCAL_ACCOUNT
    if stand_in is not None:
        region = stand_in.environment.get("AWS_DEFAULT_REGION", region)
        account = request["RoleArn"].split(":")[4]
    return f"arn:aws:sagemaker:{region}:{account}:training-job/{request['TrainingJobName']}"


def _stop_seconds() -> float:
    text = os.environ.get("SIFT_LAUNCHER_STOP_SECONDS", str(STOP_SECONDS))
    try:
        return float(text)
    except ValueError:
        raise ValidationError(
            f"SIFT_LAUNCHER_STOP_SECONDS={text!r} is not a number of seconds"
        ) from None


def _bury(record: JobRecord, status: Status) -> Status:
    """Marks a job as failed whose supervisor is gone. The caller holds the lock."""
    request = record.request()
    stand_in = players.of_settings(record.settings())
    if players.runs_in_containers(request, stand_in):
        remove_left_over(record)
    for host in hosts_of(request):
        kill_left_over(record.hosts / host)
    pid = record.pid()
    told = _last_line(record.supervisor_log)
    lost = (
        f"the job's supervisor (process {pid or 'unknown'}) is gone without a result"
        f"{': ' + told if told else '; it was killed, or the machine restarted'}; "
        f"what the job wrote is kept in {record.folder}"
    )
    reason = Reasons(players.is_played(request, stand_in)).of_loss(lost)
    status = ended(status, "Failed", time.time(), reason=reason)
    # On a full disk the answer is right all the same, and will be written when there is room.
    with suppress(OSError):
        record.write_status(status)
    return status


def _last_line(path: Path) -> str:
    with suppress(FileNotFoundError):
        lines = path.read_text("utf-8", errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""
    return ""


def _description(record: JobRecord, status: Status) -> dict[str, Any]:
    request = record.request()
    settings = record.settings()
    return (
        {"TrainingJobName": record.name, "TrainingJobArn": settings["TrainingJobArn"]}
        | request
        | _with_datetimes(status)
    )


def _summary(record: JobRecord, status: Status) -> dict[str, Any]:
    keys = (
        "CreationTime",
        "TrainingEndTime",
        "LastModifiedTime",
        "TrainingJobStatus",
        "SecondaryStatus",
    )
    return {
        "TrainingJobName": record.name,
        "TrainingJobArn": record.settings()["TrainingJobArn"],
    } | _with_datetimes({key: status[key] for key in keys if key in status})


def _with_datetimes(status: Status) -> dict[str, Any]:
    transitions = [_dated(each) for each in status.get("SecondaryStatusTransitions", [])]
    dated = _dated(status)
    return dated | {"SecondaryStatusTransitions": transitions} if transitions else dated


def _dated(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: datetime.fromtimestamp(value, timezone.utc)
        if key.endswith("Time") and isinstance(value, float)
        else value
        for key, value in values.items()
    }
