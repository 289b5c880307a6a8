"""What the supervisor needs of whatever runs a host: a process now, a container behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from sift_launcher.local.tree import HostTree


class RunningHost(Protocol):
    """One host that was started. No method blocks, none raises when the host is gone."""

    def exit_code(self) -> int | None:
        """The exit code of the host's first program, None while it runs."""

    def terminate(self) -> None:
        """Asks the host to stop: SIGTERM to its first program."""

    def kill(self) -> None:
        """Ends every process of the host at once."""


class HostRunner(Protocol):
    """Starts hosts."""

    def start(self, tree: HostTree, log: Path) -> RunningHost:
        """Starts the host whose tree is laid out; all it prints is added to `log`.

        Returns at once; the end of the host's first program wakes the caller with SIGCHLD.
        Raises OSError when the host cannot be started.
        """
