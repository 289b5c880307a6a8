"""All jobs that were launched from here, as lines of a list, newest first."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sift_launcher import catalogue
from sift_launcher.catalogue import CloudEntry
from sift_launcher.cost import Cost, cost_of
from sift_launcher.errors import ResourceNotFound
from sift_launcher.local.service import LocalTrainingService
from sift_launcher.local.status import Status

REHEARSAL_OVER = "Rehearsal over"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class JobLine:
    """What a list tells of a job. Times are seconds since the epoch."""

    name: str
    status: str
    where: str
    created: float
    ended: float | None
    cost: Cost | None
    """None: its price is not known."""

    arn: str

    def seconds(self, now: float) -> float | None:
        """How long it ran, or has run; None when nobody knows."""
        if self.ended is None and self.status in (REHEARSAL_OVER, UNKNOWN):
            return None
        return max(0.0, (now if self.ended is None else self.ended) - self.created)

    def to_dict(self) -> dict[str, Any]:
        """As plain data, in SageMaker's words where it has some."""
        told = {
            "TrainingJobName": self.name,
            "TrainingJobArn": self.arn,
            "TrainingJobStatus": self.status,
            "CreationTime": _as_datetime(self.created),
            "Where": self.where,
            "CostDollars": None if self.cost is None else self.cost.dollars,
            "CostIsEstimate": self.cost is not None and self.cost.is_estimate,
        }
        if self.ended is not None:
            told["TrainingEndTime"] = _as_datetime(self.ended)
        return told


def own_jobs(limit: int | None = None) -> tuple[list[JobLine], list[str]]:
    """The jobs of this machine and those that were launched from it, newest first; and what kept
    AWS from telling of some of them, a line each."""
    lines = list(_local_lines())
    entries = list(catalogue.entries())
    problems: list[str] = []
    if entries:
        from sift_launcher.cloud.listing import ask_about

        live = [entry for entry in entries if entry.ended_as is None]
        answers, problems = ask_about(live) if live else ({}, [])
        now = time.time()
        lines += (line_of(entry, answers.get(entry.name), now) for entry in entries)
    lines.sort(key=lambda line: line.created, reverse=True)
    return lines[:limit], problems


def line_of(entry: CloudEntry, status: Status | None, now: float) -> JobLine:
    """The line of the job of `entry`, of which AWS tells `status`; None: it does not."""
    known = status or _last_known(entry)
    return JobLine(
        name=entry.name,
        status=known["TrainingJobStatus"],
        where=" ".join(filter(None, (_place(entry), _hosts(entry.instance, entry.count)))),
        created=entry.created,
        ended=known.get("TrainingEndTime"),
        cost=cost_of(entry, known, now) if known["TrainingJobStatus"] != UNKNOWN else None,
        arn=entry.arn,
    )


def _local_lines() -> Iterator[JobLine]:
    service = LocalTrainingService()
    for name in service.names():
        with suppress(ResourceNotFound):  # removed meanwhile
            record = service.record(name)
            status = service.status(name)
            resources: dict[str, Any] = record.request().get("ResourceConfig", {})
            yield JobLine(
                name=name,
                status=status["TrainingJobStatus"],
                where=_hosts(
                    resources.get("InstanceType", "process"), resources.get("InstanceCount", 1)
                ),
                created=status["CreationTime"],
                ended=status.get("TrainingEndTime"),
                cost=Cost(0.0),
                arn=record.settings().get("TrainingJobArn", ""),
            )


def _as_datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def _last_known(entry: CloudEntry) -> Status:
    known: Status = {"CreationTime": entry.created}
    if entry.ended is not None:
        known["TrainingEndTime"] = entry.ended
    if entry.billable_seconds is not None:
        known["BillableTimeInSeconds"] = entry.billable_seconds
    unknown = REHEARSAL_OVER if entry.is_rehearsal else UNKNOWN
    return known | {"TrainingJobStatus": entry.ended_as or unknown}


def _place(entry: CloudEntry) -> str:
    return "rehearsal" if entry.is_rehearsal else entry.region


def _hosts(instance: str, count: int) -> str:
    return instance if count == 1 else f"{count} x {instance}"


def cells(lines: Iterable[JobLine], now: float) -> Iterator[tuple[str, ...]]:
    """The lines as text: name, status, where, when it was created, seconds and cost."""
    for line in lines:
        created = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line.created))
        seconds = line.seconds(now)
        yield (
            line.name,
            line.status,
            line.where,
            created,
            "" if seconds is None else f"{seconds:.0f}",
            "" if line.cost is None else str(line.cost),
        )
