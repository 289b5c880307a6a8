"""What may end a job, or an attempt at it, before it ends by itself: wishes, limits, spot."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

INTERRUPTED = "Interrupted"


@dataclass(frozen=True)
class Limits:
    """The times that a job is held to, in seconds."""

    run: float
    """How long it may be on its instances, downloading and training, over all attempts."""

    stop: float
    """How long a host has between SIGTERM and SIGKILL."""

    wait: float = math.inf
    """How long it may take in all, with the waiting for spot instances."""

    notice: float = 0.0
    """How long a spot instance is still there once it is taken back."""


@dataclass(frozen=True)
class Halt:
    """That hosts have to stop."""

    secondary: str
    """The job's secondary status for it: `Stopped`, `MaxRuntimeExceeded`, `Interrupted`, ..."""

    grace: float
    """Seconds between SIGTERM and SIGKILL."""

    @property
    def is_interruption(self) -> bool:
        """The instances are taken back, and the job begins again on others."""
        return self.secondary == INTERRUPTED


class CutShort(Exception):
    """Whatever is being done before the hosts run is not to be finished."""

    def __init__(self, halt: Halt) -> None:
        super().__init__(halt.secondary)
        self.halt = halt


class Spot(Protocol):
    """When spot instances are taken back."""

    def is_due(self, trained: float) -> bool:
        """Whether they are now, after that many seconds of training. Each time is told once."""

    def next_look(self, trained: float) -> float:
        """In how many seconds to ask again, infinite when nothing is to come."""


class Watch:
    """One job's time, through all of its attempts."""

    def __init__(
        self,
        limits: Limits,
        is_asked: Callable[[str], bool],
        spot: Spot | None = None,
        waited: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_asked`: whether the user has left the wish `stop`. `waited`: the seconds since the
        job was made. `clock`: seconds since any moment."""
        self._limits = limits
        self._is_asked = is_asked
        self._spot = spot
        self._clock = clock
        self._made = clock() - waited
        self._used = _Stopwatch(clock)
        self._trained = _Stopwatch(clock)

    def on_instances(self) -> AbstractContextManager[None]:
        """What is done in this context counts against the longest run time."""
        return self._used.running()

    def training(self) -> AbstractContextManager[None]:
        """In this context the hosts run."""
        return self._trained.running()

    def halt(self) -> Halt | None:
        """What has to stop the hosts now, None when nothing has."""
        limits = self._limits
        if self._is_asked("stop"):
            return Halt("Stopped", limits.stop)
        if self._used.seconds() >= limits.run:
            return Halt("MaxRuntimeExceeded", limits.stop)
        if self._clock() - self._made >= limits.wait:
            return Halt("MaxWaitTimeExceeded", limits.stop)
        if self._spot is not None and self._spot.is_due(self._trained.seconds()):
            return Halt(INTERRUPTED, limits.notice)
        return None

    def next_look(self) -> float:
        """In how many seconds to ask again, if no wish is left before."""
        run = self._limits.run - self._used.seconds()
        wait = self._limits.wait - (self._clock() - self._made)
        spot = self._spot.next_look(self._trained.seconds()) if self._spot else math.inf
        return max(0.0, min(run, wait, spot))

    def check(self) -> None:
        """Raises CutShort when the job is not to go on."""
        if (halt := self.halt()) is not None:
            raise CutShort(halt)


class _Stopwatch:
    """Seconds spent within its context, entered again and again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._before = 0.0
        self._since: float | None = None

    def seconds(self) -> float:
        return self._before + (0.0 if self._since is None else self._clock() - self._since)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._since = self._clock()
        try:
            yield
        finally:
            self._before, self._since = self.seconds(), None
