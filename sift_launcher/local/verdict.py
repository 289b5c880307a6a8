"""Which host made a job fail, from what the hosts left behind and how they ended."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from sift_launcher.local.attend import Ending
from sift_launcher.local.host_runner import HostEnd
from sift_launcher.local.status import MAX_REASON
from sift_launcher.local.tree import HostTree

ROOM = "make room, or set SIFT_LAUNCHER_HOME (and --output) to a folder on another disk"

_FULL_DISK_BYTES = 1_000_000
_SIGKILL_CODE = 137

# What a rank says whose peer is gone: true of it, but not why the job failed.
_OF_A_PEER = re.compile(
    r"Connection (closed|reset|refused)|Broken pipe|remote process exited|recvValue failed"
    r"|sendBytes failed|recvBytes failed|DistNetworkError|DistStoreError|RendezvousConnectionError"
)


@dataclass(frozen=True)
class Failure:
    """The host that is the reason."""

    host: str
    exit_code: int | None
    """None: nobody can tell any more."""

    told: str
    """At most 1,024 characters."""


def first_failure(
    trees: Mapping[str, HostTree], ending: Ending, *, by_exit_code: bool = False
) -> Failure | None:
    """Why the job failed, None of a job that succeeded on every host.

    A host has succeeded when its exit code is 0 and it has left the success file of our `train`;
    `by_exit_code`, whatever it has left, as in SageMaker, where any program may run.

    Where several hosts failed it is the one that failed first, and of the others' own accord: a
    host that only lost its peer, or was stopped for it, is not the reason.
    """
    reasons = {
        host: reason
        for host, end in ending.ends.items()
        if (reason := _of_host(trees[host], end, by_exit_code)) is not None
    }
    if not reasons:
        return None
    own = [host for host in reasons if host not in ending.told_to_stop] or list(reasons)
    first = next((host for host in own if not _OF_A_PEER.search(reasons[host])), own[0])
    return Failure(first, ending.ends[first].exit_code, reasons[first])


def _of_host(tree: HostTree, end: HostEnd, by_exit_code: bool) -> str | None:
    if end.exit_code == 0 and (by_exit_code or (tree.output / "success").exists()):
        return None
    told = "\n".join(filter(None, (end.told, _failure_file(tree))))
    if told:
        return told[:MAX_REASON]
    if end.exit_code == 0:
        return "the job ended with exit code 0 but did not say that it succeeded"
    if shutil.disk_usage(tree.base).free < _FULL_DISK_BYTES:
        return f"exit code {end.exit_code}, and the disk of {tree.base} is full: {ROOM}"
    killed = ": it was killed, for lack of memory perhaps" if end.exit_code == _SIGKILL_CODE else ""
    return f"exit code {end.exit_code}{killed}"


def _failure_file(tree: HostTree) -> str:
    try:
        text = (tree.output / "failure").read_text("utf-8", errors="replace")
    except OSError:
        return ""
    return text[:MAX_REASON].strip()
