"""What AWS tells of many jobs at once: one listing a place, not a question a job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from typing import Any

from sift_launcher import catalogue
from sift_launcher.catalogue import CloudEntry
from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.explain import explained
from sift_launcher.cloud.job import CloudJob
from sift_launcher.cloud.reach import clients_of
from sift_launcher.errors import CloudUnreachable, ResourceNotFound, SiftLaunchError
from sift_launcher.job_list import JobLine, line_of
from sift_launcher.jobs import status_of
from sift_launcher.local.status import ENDED, Status

_PAGE = 100  # the most that ListTrainingJobs gives at once
_CONNECT_SECONDS = 3
_READ_SECONDS = 10
_ATTEMPTS = 3
_DESCRIBED_AT_MOST = 20
_AT_ONCE = 8
_EARLIER_SECONDS = 60.0  # this machine's clock and AWS's need not agree


def ask_about(entries: Sequence[CloudEntry]) -> tuple[dict[str, Status], list[str]]:
    """The states of the jobs of `entries` by name, and what kept AWS from telling, a line each.

    Of a rehearsal that has ended nothing is told, and that is no problem.
    """
    places: dict[tuple[str, str | None, str | None], list[CloudEntry]] = defaultdict(list)
    for entry in entries:
        places[entry.region, entry.profile, entry.endpoint].append(entry)
    with ThreadPoolExecutor(len(places)) as pool:
        answers = list(pool.map(_ask_place, places.values()))
    states = {name: status for answer in answers for name, status in answer.states.items()}
    return states, [answer.problem for answer in answers if answer.problem]


def jobs_of_account(region: str | None, profile: str | None, limit: int | None) -> list[JobLine]:
    """The jobs of the account in a region, newest first, whoever launched them."""
    clients = Clients(region, profile)
    now = datetime.now(timezone.utc).timestamp()
    return [
        line_of(_entry_of(summary, clients), _state(summary), now)
        for summary in islice(_summaries(clients), limit)
    ]


@dataclass(frozen=True)
class _Answer:
    states: dict[str, Status]
    problem: str = ""


def _ask_place(entries: Sequence[CloudEntry]) -> _Answer:
    """Asks one account and region about its jobs."""
    first = entries[0]
    where = "the rehearsal" if first.is_rehearsal else first.region
    try:
        clients = clients_of(
            first, connect_seconds=_CONNECT_SECONDS, read_seconds=_READ_SECONDS, attempts=_ATTEMPTS
        )
        return _Answer(_states(clients, {entry.name: entry for entry in entries}))
    except (CloudUnreachable, ResourceNotFound) as error:
        return _Answer({}, "" if first.is_rehearsal else _untold(where, error))
    except SiftLaunchError as error:
        return _Answer({}, _untold(where, error))


def _states(clients: Clients, entries: dict[str, CloudEntry]) -> dict[str, Status]:
    oldest = min(entry.created for entry in entries.values()) - _EARLIER_SECONDS
    states: dict[str, Status] = {}
    for summary in _summaries(clients, since=oldest):
        if summary["TrainingJobName"] in entries:
            states[summary["TrainingJobName"]] = _state(summary)
            if len(states) == len(entries):
                break
    ended = [name for name, state in states.items() if state["TrainingJobStatus"] in ENDED]
    asked = ended[:_DESCRIBED_AT_MOST]  # newest first; those left out are next time's
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        ends = pool.map(lambda name: _end(entries[name], clients), asked)
        return states | dict(zip(asked, ends, strict=True))


def _end(entry: CloudEntry, clients: Clients) -> Status:
    """How the job ended, with the seconds that are billed, which a listing does not tell. The
    catalogue keeps it."""
    return status_of(CloudJob(entry, clients).describe())


def _summaries(clients: Clients, since: float | None = None) -> Iterator[dict[str, Any]]:
    """Newest first."""
    after = {} if since is None else {"CreationTimeAfter": since}
    pages = (
        clients("sagemaker")
        .get_paginator("list_training_jobs")
        .paginate(
            SortBy="CreationTime",
            SortOrder="Descending",
            PaginationConfig={"PageSize": _PAGE},
            **after,
        )
    )
    with explained("sagemaker:ListTrainingJobs on *", "the list of jobs", clients.profile):
        for page in pages:
            yield from page["TrainingJobSummaries"]


def _state(summary: dict[str, Any]) -> Status:
    return status_of(summary)


def _entry_of(summary: dict[str, Any], clients: Clients) -> CloudEntry:
    """What is known here of the job, which need not have been launched from here."""
    known = catalogue.entry(summary["TrainingJobName"])
    if known is not None and known.arn == summary["TrainingJobArn"]:
        return known
    return CloudEntry(
        name=summary["TrainingJobName"],
        arn=summary["TrainingJobArn"],
        region=clients.region,
        instance="",
        count=1,
        created=summary["CreationTime"].timestamp(),
    )


def _untold(where: str, error: SiftLaunchError) -> str:
    return f"{where} tells nothing of its jobs now: {error}"
