"""What the supervisor needs of whatever runs the hosts: processes, or containers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Protocol

from sift_launcher.local.tree import HostTree


@dataclass(frozen=True)
class HostEnd:
    """How a host ended."""

    exit_code: int | None
    """Of its first program; 128 + n when signal n killed it. None: nobody can tell any more."""

    told: str = ""
    """What only the runner knows of it, such as a memory limit that was met; else empty."""


class RunningHost(Protocol):
    """One host that was started. No method waits for it, none raises when it is gone."""

    def end(self) -> HostEnd | None:
        """How the host ended, None while it runs. Its log is complete before it has."""

    def terminate(self) -> None:
        """Asks the host to stop: SIGTERM to its first program."""

    def kill(self) -> None:
        """Ends every process of the host at once."""


class HostRunner(Protocol):
    """Starts the hosts of one job."""

    @property
    def network_interface(self) -> str:
        """The name of the network interface through which hosts reach each other."""

    def base(self, folder: Path) -> PurePath:
        """Where a host sees the tree that lies at `folder` of this machine."""

    def start(self, trees: Mapping[str, HostTree], logs: Path) -> dict[str, RunningHost]:
        """Starts the hosts whose trees are laid out; what each prints is added to <host>.log.

        Returns as soon as they run; the end of each wakes the supervisor. Raises OSError or
        SiftLaunchError when one of them cannot be started: `close` ends the others.
        """

    def close(self) -> None:
        """Ends whatever still runs, and removes all that `start` made. Never raises."""
