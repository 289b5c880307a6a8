"""A job of SageMaker, or of what stands in for it, as the commands about jobs see it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from sift_launcher import catalogue
from sift_launcher.catalogue import CloudEntry
from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.log import GROUP, CloudLog
from sift_launcher.cloud.reach import answered, clients_of, watched
from sift_launcher.cloud.watch import CloudJobWatch
from sift_launcher.cost import Cost, cost_of
from sift_launcher.errors import (
    JobHasEnded,
    OptionError,
    ResourceNotFound,
    ValidationError,
)
from sift_launcher.jobs import status_of
from sift_launcher.local.status import ENDED, Status

if TYPE_CHECKING:
    from smart_sifting.receipt import Receipt

_WATCH_ATTEMPTS = 2  # the watch itself tries again, and tells of it at once
_WATCH_READ_SECONDS = 20
_QUICKLY_BYTES = 64 << 20

T = TypeVar("T")


class CloudJob:
    """A job that runs in SageMaker, or in a rehearsal."""

    can_be_killed = False

    def __init__(self, entry: CloudEntry, clients: Clients | None = None) -> None:
        """Nothing is asked before something is wanted. `clients`: of the entry's place; None:
        made from the entry."""
        self.entry = entry
        self.name = entry.name
        self.can_cost = not entry.is_rehearsal
        self.where = "rehearsal" if entry.is_rehearsal else entry.region
        self._clients = clients
        self._description: dict[str, Any] | None = None

    def describe(self) -> dict[str, Any]:
        """SageMaker's own description, times as datetimes. Raises ResourceNotFound."""
        self._description = answered(
            self.entry,
            "sagemaker:DescribeTrainingJob",
            lambda: _describe(self._client("sagemaker"), self.name),
        )
        self._remember_end(status_of(self._description))
        return self._description

    def watch(self) -> CloudJobWatch:
        """A new look at it, from the beginning of its log."""
        first = {
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Starting",
            "CreationTime": self.entry.created,
        }
        return CloudJobWatch(self.name, *self.asking(), first)

    def asking(self) -> tuple[Callable[[], Status], CloudLog]:
        """What asks for the status, and the log; both raise Passing for what passes by itself."""
        clients = self._clients or clients_of(
            self.entry, attempts=_WATCH_ATTEMPTS, read_seconds=_WATCH_READ_SECONDS
        )
        sagemaker = clients("sagemaker")

        def ask() -> Status:
            status = status_of(
                watched(
                    self.entry,
                    "sagemaker:DescribeTrainingJob",
                    lambda: _describe(sagemaker, self.name),
                )
            )
            self._remember_end(status)
            return status

        return ask, _WatchedLog(clients("logs"), self.entry)

    def log_content(self) -> Iterator[bytes]:
        """The log as it is now, in pieces."""
        log = CloudLog(self._client("logs"), self.name, self.entry.count)
        try:
            answered(self.entry, "logs:DescribeLogStreams", log.discover)
            while True:
                yield from answered(self.entry, "logs:GetLogEvents", lambda: list(log.read()))
                if log.is_at_the_end:
                    return
        finally:
            log.close()

    def last_lines(self, count: int) -> list[str]:
        """The end of the log, of all hosts by the lines' times."""
        log = CloudLog(self._client("logs"), self.name, self.entry.count)
        return answered(self.entry, "logs:GetLogEvents", lambda: log.last_lines(count))

    def stop(self, *, kill: bool = False) -> None:
        """Asks it to stop and returns at once. Raises JobHasEnded."""
        if kill:
            raise OptionError(
                "--kill is for jobs of this machine: SageMaker gives a job two minutes to end by "
                f"itself and kills it then: sift-launch stop {self.name}"
            )
        try:
            answered(
                self.entry,
                "sagemaker:StopTrainingJob",
                lambda: self._client("sagemaker").stop_training_job(TrainingJobName=self.name),
            )
        except ValidationError:
            status = self.describe()["TrainingJobStatus"]
            if status not in ENDED:
                raise
            raise JobHasEnded(
                f"job {self.name} is over ({status}): there is nothing to stop"
            ) from None

    def receipt(self, *, quickly: bool = False) -> tuple[Receipt, Path]:
        """The receipt of all ranks, priced, and the folder it lies in. Raises ResourceNotFound,
        with `quickly` also when it lies in a large archive."""
        from sift_launcher.cloud.receipt import fetched_receipt

        price = None if self.entry.is_rehearsal else self.entry.dollars_per_hour
        return fetched_receipt(
            self._client("s3"),
            self.describe(),
            catalogue.folder_of(self.entry),
            None if price is None else price * self.entry.count,
            _QUICKLY_BYTES if quickly else None,
        )

    def download(self, folder: Path) -> list[Path]:
        """Brings outputs and checkpoints below `folder`; what an earlier call brought stays."""
        from sift_launcher.cloud.download import download

        return download(self._client("s3"), self.describe(), folder)

    def results(self) -> str:
        """The `s3://` address that the outputs are put below."""
        return results_uri(self._described())

    def further_results(self) -> str:
        """How to have them here."""
        return f"; sift-launch download {self.name} brings them here"

    def log_place(self) -> str:
        """The console's page of the log; where no console is, the command that prints it."""
        if self.entry.endpoint is not None:
            return f"sift-launch logs {self.name}"
        # The console's own way of writing a path within the fragment of its address.
        group = quote(quote(GROUP, safe=""), safe="").replace("%25", "$25")
        stream = quote(quote(f"{self.name}/", safe=""), safe="").replace("%25", "$25")
        return (
            f"{_console(self.entry.region)}/cloudwatch/home?region={self.entry.region}"
            f"#logsV2:log-groups/log-group/{group}$3FlogStreamNameFilter$3D{stream}"
        )

    def console(self) -> str | None:
        """The console's page of the job; None where no console is."""
        if self.entry.endpoint is not None:
            return None
        region = self.entry.region
        return f"{_console(region)}/sagemaker/home?region={region}#/jobs/{self.name}"

    def cost(self, status: Status) -> Cost | None:
        """What it has cost up to now; None when its price is not known."""
        return cost_of(self.entry, status, time.time())

    def _described(self) -> dict[str, Any]:
        return self._description or self.describe()

    def _client(self, service: str) -> Any:
        if self._clients is None:
            self._clients = clients_of(self.entry)
        return self._clients(service)

    def _remember_end(self, status: Status) -> None:
        """Keeps how it ended: AWS need not be asked for that again, and a rehearsal cannot be."""
        if status["TrainingJobStatus"] not in ENDED or self.entry.ended_as is not None:
            return
        self.entry = ended_entry(self.entry, status)
        known = catalogue.entry(self.name)
        if known and (known.arn, known.endpoint) == (self.entry.arn, self.entry.endpoint):
            catalogue.remember(self.entry)


class _WatchedLog(CloudLog):
    """A log whose calls raise Passing for what passes by itself, and else our own errors."""

    def __init__(self, logs: Any, entry: CloudEntry) -> None:
        super().__init__(logs, entry.name, entry.count)
        self._entry = entry

    def discover(self) -> None:
        """Looks for streams that have come."""
        watched(self._entry, "logs:DescribeLogStreams", super().discover)

    def read(self) -> Iterator[bytes]:
        """At most a page of every host, in whole lines."""
        read = super().read
        return iter(watched(self._entry, "logs:GetLogEvents", lambda: list(read())))


def asked_for(name: str, region: str | None, profile: str | None) -> CloudJob:
    """The job `name` that AWS knows in a region. Raises ResourceNotFound."""
    clients = Clients(region, profile)
    known = catalogue.entry(name)
    if known and (known.region, known.endpoint) == (clients.region, clients.endpoint):
        return CloudJob(known, clients)
    unknown = CloudEntry(
        name=name,
        arn=f"arn:aws:sagemaker:{clients.region}:*:training-job/{name}",
        region=clients.region,
        instance="",
        count=1,
        created=0.0,
        profile=profile,
        endpoint=clients.endpoint,
    )
    described = CloudJob(unknown, clients).describe()
    resources = described["ResourceConfig"]
    groups = resources.get("InstanceGroups") or [resources]
    entry = replace(
        unknown,
        arn=described["TrainingJobArn"],
        instance=groups[0]["InstanceType"],
        count=sum(group["InstanceCount"] for group in groups),
        created=described["CreationTime"].timestamp(),
    )
    return CloudJob(entry, clients)


def ended_entry(entry: CloudEntry, status: Status) -> CloudEntry:
    """`entry` of a job that has ended with `status`."""
    return replace(
        entry,
        ended_as=status["TrainingJobStatus"],
        ended=status.get("TrainingEndTime"),
        billable_seconds=status.get("BillableTimeInSeconds"),
    )


def results_uri(description: Mapping[str, Any]) -> str:
    """Where SageMaker puts a job's outputs."""
    output = description["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    return f"{output}/{description['TrainingJobName']}/output"


def _describe(sagemaker: Any, name: str) -> dict[str, Any]:
    from botocore.exceptions import ClientError

    try:
        description: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName=name)
    except ClientError as error:
        told = error.response.get("Error", {}).get("Message", "").lower()
        if "not found" not in told and "could not find" not in told:
            raise
        raise ResourceNotFound(told) from error
    description.pop("ResponseMetadata", None)
    return description


def _console(region: str) -> str:
    if region.startswith("cn-"):
        return f"https://{region}.console.amazonaws.cn"
    if region.startswith("us-gov-"):
        return f"https://{region}.console.amazonaws-us-gov.com"
    return f"https://{region}.console.aws.amazon.com"
