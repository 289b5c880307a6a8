"""Waiting for all hosts of a job, and stopping them when they have to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sift_launcher.local.host_runner import HostEnd, RunningHost
from sift_launcher.local.watch import INTERRUPTED, Halt

PEERS_SECONDS = 10.0
"""How long the other hosts may go on once one has failed: most fail for it by themselves, and say
so in their logs. What still runs then is stopped as a user would stop it."""

_KILL_AGAIN_SECONDS = 1.0
_AT_ONCE_SECONDS = 0.01


@dataclass(frozen=True)
class Ending:
    """How the hosts ended."""

    ends: Mapping[str, HostEnd]
    """In the order in which they did."""

    stopped: str | None = None
    """The secondary status of a job that was stopped, None of one that ended by itself."""

    told_to_stop: frozenset[str] = frozenset()
    """The hosts that still ran when SIGTERM was sent."""

    @property
    def is_interrupted(self) -> bool:
        """The instances were taken back: the job begins again."""
        return self.stopped == INTERRUPTED

    @property
    def is_orderly(self) -> bool:
        """Every host ended by itself, none by a signal: what it wrote is whole."""
        codes = [end.exit_code for end in self.ends.values()]
        return all(code is not None and code < 128 for code in codes)


class Halts(Protocol):
    """What may stop the hosts; see Watch."""

    def halt(self) -> Halt | None:
        """What has to stop them now."""

    def next_look(self) -> float:
        """In how many seconds to ask again."""


class Listener(Protocol):
    """Who wants to know what is done to the hosts."""

    def on_halt(self, halt: Halt) -> None:
        """The job, not just the rest of a failed one, is about to be stopped."""

    def before_kill(self) -> None:
        """Hosts are about to be killed; may be told again and again."""


class Attendance:
    """One attempt's hosts, from their start until the last of them has ended."""

    def __init__(
        self,
        hosts: Mapping[str, RunningHost],
        halts: Halts,
        stop_seconds: float,
        is_asked: Callable[[str], bool],
        listener: Listener,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`stop_seconds`: what the rest of a failed job has between SIGTERM and SIGKILL.
        `is_asked`: whether the user has left the wish `kill`. `clock`: seconds since any moment."""
        self._hosts = hosts
        self._halts = halts
        self._stop_seconds = stop_seconds
        self._is_asked = is_asked
        self._listener = listener
        self._clock = clock
        self._ends: dict[str, HostEnd] = {}
        self._peers_moment = math.inf
        self._kill_moment = math.inf
        self._stopped: str | None = None
        self._told_to_stop: frozenset[str] | None = None

    def until_all_ended(self, wait: Callable[[float], None]) -> Ending:
        """`wait` returns when a host may have ended or a wish was left, or after the seconds."""
        while len(self._look()) < len(self._hosts):
            if self._told_to_stop is None:
                self._stop_if_need_be()
            # A job is killed once it is being stopped: else it would look as if it had failed.
            if self._told_to_stop is not None and self._is_time_up():
                self._kill()
            wait(self._next_look())
        return Ending(self._ends, self._stopped, self._told_to_stop or frozenset())

    def _look(self) -> dict[str, HostEnd]:
        for name, host in self._hosts.items():
            end = host.end() if name not in self._ends else None
            if end is None:
                continue
            self._ends[name] = end
            if end.exit_code != 0 and self._peers_moment == math.inf:
                self._peers_moment = self._clock() + min(PEERS_SECONDS, self._stop_seconds)
        return self._ends

    def _stop_if_need_be(self) -> None:
        halt = self._halts.halt()
        has_failed = self._peers_moment < math.inf
        if has_failed:
            # Whatever comes now, a failed job stays failed.
            if halt is not None or self._clock() >= self._peers_moment:
                self._terminate(self._stop_seconds)
        elif halt is not None:
            self._stopped = halt.secondary
            self._listener.on_halt(halt)
            self._terminate(halt.grace)

    def _terminate(self, grace: float) -> None:
        self._kill_moment = self._clock() + grace
        self._told_to_stop = frozenset(self._hosts) - frozenset(self._ends)
        for name in self._told_to_stop:
            self._hosts[name].terminate()

    def _is_time_up(self) -> bool:
        return self._clock() >= self._kill_moment or self._is_asked("kill")

    def _kill(self) -> None:
        self._listener.before_kill()
        for host in self._hosts.values():
            host.kill()

    def _next_look(self) -> float:
        if self._told_to_stop is None:
            seconds = min(self._halts.next_look(), self._peers_moment - self._clock())
            return max(seconds, _AT_ONCE_SECONDS)
        seconds = self._kill_moment - self._clock()
        return seconds if seconds > 0 else _KILL_AGAIN_SECONDS
