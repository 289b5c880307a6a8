"""Waiting for all hosts of a job, and stopping them when they have to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sift_launcher.local.host_runner import HostEnd, RunningHost

PEERS_SECONDS = 10.0
"""How long the other hosts may go on once one has failed: most fail for it by themselves, and say
so in their logs. What still runs then is stopped as a user would stop it."""

_KILL_AGAIN_SECONDS = 1.0


@dataclass(frozen=True)
class Limits:
    """The times that a job is held to, in seconds."""

    run: float
    """How long it may train."""

    stop: float
    """How long a host has between SIGTERM and SIGKILL."""


@dataclass(frozen=True)
class Ending:
    """How the hosts ended."""

    ends: Mapping[str, HostEnd]
    """In the order in which they did."""

    stopped: str | None = None
    """The secondary status of a job that was stopped, None of one that ended by itself."""

    told_to_stop: frozenset[str] = frozenset()
    """The hosts that still ran when SIGTERM was sent."""


class Attendance:
    """One job's hosts, from their start until the last of them has ended."""

    def __init__(
        self,
        hosts: Mapping[str, RunningHost],
        limits: Limits,
        is_asked: Callable[[str], bool],
        on_stopping: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_asked`: whether the user has left that wish, `stop` or `kill`. `on_stopping`: called
        when the job, not just the rest of a failed one, is about to be stopped. `clock`: seconds
        since any moment."""
        self._hosts = hosts
        self._limits = limits
        self._is_asked = is_asked
        self._on_stopping = on_stopping
        self._clock = clock
        self._ends: dict[str, HostEnd] = {}
        self._last_moment = clock() + limits.run
        self._peers_moment = math.inf
        self._kill_moment = math.inf
        self._stopped: str | None = None
        self._told_to_stop: frozenset[str] | None = None

    def until_all_ended(self, wait: Callable[[float], None]) -> Ending:
        """`wait` returns when a host may have ended or a wish was left, or after the seconds."""
        while len(self._look()) < len(self._hosts):
            now = self._clock()
            if self._told_to_stop is None and self._must_stop(now):
                self._terminate(now)
            if now >= self._kill_moment or self._is_asked("kill"):
                for host in self._hosts.values():
                    host.kill()
            moment = self._next_moment()
            wait(moment - now if moment > now else _KILL_AGAIN_SECONDS)
        return Ending(self._ends, self._stopped, self._told_to_stop or frozenset())

    def _look(self) -> dict[str, HostEnd]:
        for name, host in self._hosts.items():
            end = host.end() if name not in self._ends else None
            if end is None:
                continue
            self._ends[name] = end
            if end.exit_code != 0 and self._peers_moment == math.inf:
                self._peers_moment = self._clock() + min(PEERS_SECONDS, self._limits.stop)
        return self._ends

    def _must_stop(self, now: float) -> bool:
        return self._is_asked("stop") or now >= min(self._last_moment, self._peers_moment)

    def _terminate(self, now: float) -> None:
        has_failed = self._peers_moment < math.inf
        if not has_failed:
            self._stopped = "Stopped" if now < self._last_moment else "MaxRuntimeExceeded"
            self._on_stopping()
        self._kill_moment = now + self._limits.stop
        self._told_to_stop = frozenset(self._hosts) - frozenset(self._ends)
        for name in self._told_to_stop:
            self._hosts[name].terminate()

    def _next_moment(self) -> float:
        if self._told_to_stop is not None:
            return self._kill_moment
        return min(self._last_moment, self._peers_moment)
