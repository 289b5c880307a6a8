"""The way to where a cloud job runs: AWS, or a rehearsal on this machine, which may be over."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from sift_launcher.catalogue import CloudEntry
from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.explain import explained
from sift_launcher.cloud.passing import Passing, told_apart
from sift_launcher.errors import CloudUnreachable, ResourceNotFound
from sift_launcher.rehearsal.endpoint import Endpoint
from sift_launcher.rehearsal.files import RehearsalFiles

_DOING = {
    "sagemaker:DescribeTrainingJob": "asking for job",
    "sagemaker:StopTrainingJob": "stopping job",
    "logs:DescribeLogStreams": "looking for the log of job",
    "logs:GetLogEvents": "reading the log of job",
}

T = TypeVar("T")


def clients_of(entry: CloudEntry, **settings: Any) -> Clients:
    """The way to where the job of `entry` runs. Raises ResourceNotFound of a rehearsal that is
    over."""
    if not entry.is_rehearsal:
        return Clients(entry.region, entry.profile, entry.endpoint, **settings)
    # Whoever looks from another terminal has none of the variables that lead to a rehearsal.
    variables = _rehearsal_of(entry).environment
    os.environ.update({name: variables[name] for name in ("NO_PROXY", "no_proxy")})
    clients = Clients(entry.region, None, entry.endpoint, **settings)
    clients.session.set_credentials(
        variables["AWS_ACCESS_KEY_ID"],
        variables["AWS_SECRET_ACCESS_KEY"],
        variables["AWS_SESSION_TOKEN"],
    )
    return clients


def answered(entry: CloudEntry, permission: str, ask: Callable[[], T]) -> T:
    """What `ask` returns, which needs `permission`. AWS's refusals are raised as our own errors."""
    try:
        return _explained(entry, permission, ask)
    except CloudUnreachable as error:
        if not entry.is_rehearsal:
            raise
        raise ResourceNotFound(_over(entry)) from error


def watched(entry: CloudEntry, permission: str, ask: Callable[[], T]) -> T:
    """What `ask` returns. Raises Passing for what passes by itself, and else our own errors."""

    def apart() -> T:
        with told_apart():
            return ask()

    try:
        return _explained(entry, permission, apart)
    except Passing:
        if entry.is_rehearsal:
            _rehearsal_of(entry)  # one that has been ended does not come back
        raise


def _explained(entry: CloudEntry, permission: str, ask: Callable[[], T]) -> T:
    """What `ask` returns, with AWS's refusals as our own errors."""
    doing = f"{_DOING[permission]} {entry.name}"
    try:
        with explained(f"{permission} on {entry.arn}", doing, entry.profile):
            return ask()
    except ResourceNotFound as error:
        raise ResourceNotFound(_not_there(entry)) from error


def _rehearsal_of(entry: CloudEntry) -> Endpoint:
    """Where the rehearsal of the job answers. Raises ResourceNotFound when it is over."""
    found = RehearsalFiles().read()
    if found is None or found[0].url != entry.endpoint:
        raise ResourceNotFound(_over(entry))
    return found[0]


def _not_there(entry: CloudEntry) -> str:
    if entry.is_rehearsal:
        return _over(entry)
    return (
        f"no job is named {entry.name!r} in {entry.region}: sift-launch jobs --region "
        f"{entry.region} lists those there are; other --profile, other account"
    )


def _over(entry: CloudEntry) -> str:
    how = f"; it was {entry.ended_as}" if entry.ended_as else ""
    return (
        f"the rehearsal that ran job {entry.name} has ended ({entry.endpoint} does not know it any "
        f"more){how}: its log and outputs went with it"
    )
