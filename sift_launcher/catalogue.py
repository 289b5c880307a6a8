"""Which jobs this user launched in the cloud or in a rehearsal, and where: one file a job.

AWS keeps the jobs; this keeps the way back to them, so that `sift-launch status NAME` needs no
region, and `jobs` lists what it is about without asking every region.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sift_launcher.local.records import write_json
from sift_launcher.paths import state_folder


@dataclass(frozen=True)
class CloudEntry:
    """One job that was launched."""

    name: str
    arn: str
    region: str
    instance: str
    count: int
    created: float
    """Seconds since the epoch."""

    profile: str | None = None
    endpoint: str | None = None
    """Of a stand-in for AWS; None: AWS itself."""

    is_rehearsal: bool = False
    dollars_per_hour: float | None = None
    """Per instance on demand, as the plan had it; None: unknown."""

    ended_as: str | None = None
    """The status it ended with, once that was seen from here."""

    ended: float | None = None
    """Seconds since the epoch."""

    billable_seconds: float | None = None


def remember(entry: CloudEntry) -> None:
    """Writes the entry, over one of the same name."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{entry.name}.json", asdict(entry))


def entry(name: str) -> CloudEntry | None:
    """The entry of job `name`, None when none was launched from here."""
    return _read(_folder() / f"{name}.json")


def entries() -> Iterator[CloudEntry]:
    """All entries, in no order."""
    for path in _folder().glob("*.json"):
        if (found := _read(path)) is not None:
            yield found


def folder_of(entry: CloudEntry) -> Path:
    """Where what was fetched of the job is kept; it need not exist. A name that a rehearsal used
    again is another job."""
    return _folder() / entry.name / f"{entry.region}-{entry.created:.0f}"


def _folder() -> Path:
    return state_folder() / "cloud"


def _read(path: Path) -> CloudEntry | None:
    with suppress(OSError, ValueError, TypeError):  # not there, or of another release
        return CloudEntry(**json.loads(path.read_text("utf-8")))
    return None
