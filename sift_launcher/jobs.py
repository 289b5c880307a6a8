"""One job wherever it runs: what the commands about jobs need of it, and how it is found."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sift_launcher.errors import CloudUnreachable, CredentialsError, ResourceNotFound
from sift_launcher.local.records import no_such_job
from sift_launcher.local.status import Status
from sift_launcher.validation import is_job_name

if TYPE_CHECKING:
    from sift_launcher.cost import Cost
    from sift_launcher.receipts import Glimpse
    from smart_sifting.receipt import Receipt


_STATUS_KEYS = (
    "TrainingJobStatus",
    "SecondaryStatus",
    "SecondaryStatusTransitions",
    "FailureReason",
    "CreationTime",
    "TrainingStartTime",
    "TrainingEndTime",
    "LastModifiedTime",
    "TrainingTimeInSeconds",
    "BillableTimeInSeconds",
    "ModelArtifacts",
)


class Watch(Protocol):
    """A job that is being followed. No call waits for anything."""

    def status(self) -> Status:
        """What is known of the job now. That it has ended is told only when all of its log is
        there to be read."""

    def read(self) -> Iterator[bytes]:
        """What the log has got since the last call, in pieces; of several hosts whole lines under
        their names."""

    def rest(self) -> Iterator[bytes]:
        """The lines that their hosts have not ended, once no more will come."""

    def notices(self) -> Iterator[str]:
        """What the user should know of the watching itself, such as that the connection is lost."""

    def glimpse(self) -> Glimpse | None:
        """The head of the receipt as it is now; None while there is none to be seen."""

    def close(self) -> None:
        """Lets go of files and connections."""


class Job(Protocol):
    """A job of this machine, of a rehearsal, or of SageMaker."""

    name: str
    where: str
    """In a few words: `this machine`, `us-east-1`, `rehearsal`."""

    can_be_killed: bool
    """Whether it can be stopped without the time to end by itself."""

    can_cost: bool
    """Whether somebody pays for the time that it runs."""

    def describe(self) -> dict[str, Any]:
        """SageMaker's own description, times as datetimes. Raises ResourceNotFound."""

    def watch(self) -> Watch:
        """A new look at it, from the beginning of its log. Raises ResourceNotFound."""

    def log_content(self) -> Iterator[bytes]:
        """The log as it is now, in pieces."""

    def last_lines(self, count: int) -> list[str]:
        """The end of the log."""

    def stop(self, *, kill: bool = False) -> None:
        """Asks it to stop and returns at once. Raises JobHasEnded."""

    def receipt(self, *, quickly: bool = False) -> tuple[Receipt, Path]:
        """The receipt of all ranks, and the folder it lies in. Raises ResourceNotFound, with
        `quickly` also when it would take long to be had."""

    def download(self, folder: Path) -> list[Path]:
        """Brings outputs and checkpoints below `folder`; returns the files that are there now.

        What an earlier call has brought is not brought again.
        """

    def results(self) -> str:
        """Where the outputs are: a folder of this machine, or an `s3://` address."""

    def further_results(self) -> str:
        """What else there is to say of the outputs of a job that completed; may be empty."""

    def log_place(self) -> str:
        """Where the whole log is: a path, the console's address, or the command that prints it."""

    def cost(self, status: Status) -> Cost | None:
        """What it has cost up to now; None when nobody knows its price."""


def find_job(name: str, region: str | None = None, profile: str | None = None) -> Job:
    """The job `name`: of this machine, else launched from it, else one that AWS knows.

    With `region` or `profile` only AWS is asked, and there; else AWS is asked where its own
    variables say which region. Raises ResourceNotFound.
    """
    if not is_job_name(name):
        raise no_such_job(name)
    if region or profile:
        return _in_the_cloud(name, region, profile)
    from sift_launcher.local.job import LocalJob

    job = LocalJob(name)
    if job.exists():
        return job
    from sift_launcher import catalogue

    if (entry := catalogue.entry(name)) is not None:
        from sift_launcher.cloud.job import CloudJob

        return CloudJob(entry)
    if not _aws_is_set_up():
        raise no_such_job(name)
    try:
        return _in_the_cloud(name, region, profile)
    except (CredentialsError, CloudUnreachable) as error:
        raise ResourceNotFound(
            f"no job is named {name!r} on this machine, and AWS cannot be asked: {error}"
        ) from error


def status_of(description: Mapping[str, Any]) -> Status:
    """The changing half of SageMaker's description, times in seconds since the epoch."""
    status = {key: description[key] for key in _STATUS_KEYS if key in description}
    transitions = status.get("SecondaryStatusTransitions")
    if transitions is not None:
        status["SecondaryStatusTransitions"] = [_in_seconds(each) for each in transitions]
    return _in_seconds(status)


def names() -> Iterator[str]:
    """The names of all jobs that were launched from here."""
    from sift_launcher import catalogue
    from sift_launcher.local.service import LocalTrainingService

    yield from LocalTrainingService().names()
    yield from (entry.name for entry in catalogue.entries())


def _in_the_cloud(name: str, region: str | None, profile: str | None) -> Job:
    from sift_launcher.cloud.job import asked_for

    return asked_for(name, region, profile)


def _aws_is_set_up() -> bool:
    from importlib.util import find_spec

    variables = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE")
    return any(map(os.environ.get, variables)) and find_spec("botocore") is not None


def _in_seconds(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value.timestamp() if isinstance(value, datetime) else value
        for key, value in values.items()
    }
