"""Everything that a job makes in a Docker engine, found by its labels, and removed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sift_launcher.engine import LABEL, connect_here, engine_address, reached
from sift_launcher.errors import EngineUnavailable
from sift_launcher.local.records import JobRecord

if TYPE_CHECKING:
    from docker import APIClient

RECORD_LABEL = f"{LABEL}.record"
"""Beside LABEL: the folder of the job's record, so that no state folder sweeps another's jobs."""

_PROCESSES = Path("/proc")

# A busy engine refuses to remove what it has not seen die yet, or what it is removing already.
_PASSES = 20
_PAUSE_SECONDS = 0.5


def labels(record: JobRecord) -> dict[str, str]:
    """What every container and network of the job is labelled with."""
    return {LABEL: record.name, RECORD_LABEL: str(record.folder)}


def remove_all(api: APIClient, record: JobRecord) -> None:
    """Removes the containers, running or not, and the networks of `record`.

    Raises EngineUnavailable when the engine does not answer.
    """
    _remove(api, f"{RECORD_LABEL}={record.folder}", lambda found: True)


def remove_left_over(record: JobRecord) -> None:
    """As `remove_all`, for a job whose supervisor is gone; without an engine nothing is done, and
    the next job in Docker sweeps."""
    with suppress(EngineUnavailable):
        remove_all(connect_here().api, record)


def sweep(api: APIClient, jobs: Path) -> None:
    """Removes what jobs of the folder `jobs` left whose supervisor is gone, with or without their
    record. Raises EngineUnavailable when the engine does not answer."""

    def is_left_over(found: dict[str, Any]) -> bool:
        record = JobRecord(Path((found.get("Labels") or {})[RECORD_LABEL]))
        if record.folder.parent != jobs:
            return False
        try:
            with record.lock_if_free() as is_free:
                return is_free
        except FileNotFoundError:
            return True

    _remove(api, RECORD_LABEL, is_left_over)


def kill_processes(containers: Iterable[str]) -> None:
    """Kills the processes of containers whose engine died without them.

    A process is known by its control group, which has the name of its container. Those that are
    not this user's to kill are left to the engine, which ends them when it is started again.
    """
    ids = [identity.encode() for identity in containers]
    for folder in _PROCESSES.iterdir() if _PROCESSES.is_dir() and ids else ():
        with suppress(OSError):  # gone meanwhile, or another user's
            groups = (folder / "cgroup").read_bytes() if folder.name.isdigit() else b""
            if any(identity in groups for identity in ids):
                os.kill(int(folder.name), signal.SIGKILL)


def _remove(api: APIClient, label: str, is_meant: Callable[[dict[str, Any]], bool]) -> None:
    with reached(engine_address()):
        for _ in range(_PASSES):
            if not _is_refused(api, {"label": label}, is_meant):
                return
            time.sleep(_PAUSE_SECONDS)


def _is_refused(
    api: APIClient, filters: dict[str, str], is_meant: Callable[[dict[str, Any]], bool]
) -> bool:
    """Removes what it can; whether the engine has refused to remove any of it."""
    from docker.errors import APIError, NotFound

    containers, networks = api.containers(all=True, filters=filters), api.networks(filters=filters)
    remove_container = partial(api.remove_container, force=True, v=True)
    is_refused = False
    for remove, found in ((remove_container, containers), (api.remove_network, networks)):
        for thing in filter(is_meant, found):
            try:
                remove(thing["Id"])
            except NotFound:
                continue  # gone meanwhile
            except APIError:
                is_refused = True
    return is_refused
