"""When hosts are stopped and killed, on a clock that only the waiting moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from sift_launcher.local.attend import Attendance, Ending
from sift_launcher.local.host_runner import HostEnd
from sift_launcher.local.watch import Halt, Limits, Watch

LIMITS = Limits(run=100.0, stop=20.0, notice=7.0)
NEVER = 1e9


class Host:
    """Ends with a code at a time of the clock, or some seconds after SIGTERM, or when killed."""

    def __init__(self, now: Callable[[], float], at: float, code: int, on_term: float) -> None:
        self._now = now
        self._at = at
        self._code = code
        self._on_term = on_term
        self.told: list[tuple[str, float]] = []

    def end(self) -> HostEnd | None:
        return HostEnd(self._code) if self._now() >= self._at else None

    def terminate(self) -> None:
        self.told.append(("terminate", self._now()))
        if self._on_term < self._at - self._now():
            self._at, self._code = self._now() + self._on_term, 143

    def kill(self) -> None:
        if self._now() < self._at:
            self.told.append(("kill", self._now()))
            self._at, self._code = self._now(), 137


class Attended:
    """Hosts given as (ends at, exit code, seconds to end after SIGTERM)."""

    def __init__(
        self,
        *hosts: tuple[float, int, float],
        wishes: Mapping[str, float] | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self.now = 0.0
        self.stopping: list[float] = []
        self.kills: list[float] = []
        self.hosts = {f"algo-{n + 1}": Host(lambda: self.now, *h) for n, h in enumerate(hosts)}
        self._wishes = wishes or {}
        self._moments = sorted([*(h[0] for h in hosts), *self._wishes.values()])
        watch = Watch(limits, self._is_asked, self, clock=self._clock)
        attendance = Attendance(self.hosts, watch, limits.stop, self._is_asked, self, self._clock)
        with watch.on_instances(), watch.training():
            self.ending: Ending = attendance.until_all_ended(self._wait)

    def _clock(self) -> float:
        return self.now

    def _is_asked(self, wish: str) -> bool:
        return self.now >= self._wishes.get(wish, NEVER)

    def is_due(self, trained: float) -> bool:
        return self._is_asked("interrupt")

    def next_look(self, trained: float) -> float:
        return NEVER

    def on_halt(self, halt: Halt) -> None:
        self.stopping.append(self.now)

    def before_kill(self) -> None:
        self.kills.append(self.now)

    def _wait(self, seconds: float) -> None:
        assert seconds > 0
        events = [
            m for m in (*self._moments, *(h._at for h in self.hosts.values())) if m > self.now
        ]
        self.now = min([self.now + seconds, *events])

    def codes(self) -> dict[str, int | None]:
        return {host: end.exit_code for host, end in self.ending.ends.items()}


def test_all_hosts_are_waited_for_in_the_order_of_their_ends():
    job = Attended((9, 0, 1), (3, 0, 1), (50, 0, 1))
    assert list(job.codes().items()) == [("algo-2", 0), ("algo-1", 0), ("algo-3", 0)]
    assert job.ending.stopped is None
    assert job.now == 50
    assert not any(host.told for host in job.hosts.values())


def test_a_stop_reaches_the_hosts_that_run_and_kills_what_does_not_heed_it():
    job = Attended((3, 0, 0), (NEVER, 0, 5), (NEVER, 0, NEVER), wishes={"stop": 7})
    assert job.codes() == {"algo-1": 0, "algo-2": 143, "algo-3": 137}
    assert job.hosts["algo-1"].told == []
    assert job.hosts["algo-2"].told == [("terminate", 7)]
    assert job.hosts["algo-3"].told == [("terminate", 7), ("kill", 27)]
    assert (job.ending.stopped, job.stopping) == ("Stopped", [7])
    assert job.ending.told_to_stop == {"algo-2", "algo-3"}


def test_a_kill_is_not_waited_for():
    job = Attended((NEVER, 0, NEVER), wishes={"stop": 7, "kill": 7})
    assert job.hosts["algo-1"].told == [("terminate", 7), ("kill", 7)]


def test_a_job_that_runs_too_long_is_stopped():
    job = Attended((NEVER, 0, 5))
    assert (job.ending.stopped, job.stopping, job.now) == ("MaxRuntimeExceeded", [100], 105)


@pytest.mark.parametrize(("stop", "grace"), [(20.0, 10.0), (2.0, 2.0)])
def test_hosts_that_outlive_a_failed_one_are_stopped_and_the_job_is_not(stop, grace):
    job = Attended((5, 1, 0), (NEVER, 0, NEVER), limits=Limits(100.0, stop))
    assert job.codes() == {"algo-1": 1, "algo-2": 137}
    assert job.hosts["algo-2"].told == [("terminate", 5 + grace), ("kill", 5 + grace + stop)]
    assert (job.ending.stopped, job.stopping) == (None, [])
    assert job.ending.told_to_stop == {"algo-2"}


def test_hosts_that_fail_one_after_the_other_get_no_more_time_than_the_first_gave():
    job = Attended((5, 1, 0), (12, 1, 0), (NEVER, 0, 1))
    assert job.hosts["algo-3"].told == [("terminate", 15)]


def test_a_failed_job_stays_failed_when_the_user_stops_what_is_left_of_it():
    job = Attended((5, 1, 0), (NEVER, 0, 1), wishes={"stop": 6})
    assert job.hosts["algo-2"].told == [("terminate", 6)]
    assert job.ending.stopped is None


def test_a_host_that_was_stopped_does_not_count_as_failed():
    job = Attended((NEVER, 0, 1), (NEVER, 0, 15), wishes={"stop": 6})
    assert job.codes() == {"algo-1": 143, "algo-2": 143}
    assert job.now == 21


def test_an_interruption_gives_its_own_notice_and_says_what_is_killed_beforehand():
    job = Attended((NEVER, 0, 3), (NEVER, 0, NEVER), wishes={"interrupt": 5})
    assert job.ending.is_interrupted
    assert job.codes() == {"algo-1": 143, "algo-2": 137}
    assert job.hosts["algo-2"].told == [("terminate", 5), ("kill", 12)]
    assert job.kills == [12]
    assert not job.ending.is_orderly


@pytest.mark.parametrize("code", [0, 1])
def test_a_script_that_ends_within_the_notice_was_interrupted_all_the_same(code):
    job = Attended((8, code, NEVER), wishes={"interrupt": 5})
    assert job.ending.is_interrupted
    assert job.ending.is_orderly


def test_a_job_that_ended_before_it_was_interrupted_was_not():
    job = Attended((4, 0, 0), wishes={"interrupt": 5})
    assert job.ending.stopped is None


def test_what_is_left_of_a_failed_job_cannot_be_interrupted():
    job = Attended((5, 1, 0), (NEVER, 0, 1), wishes={"interrupt": 6})
    assert (job.ending.stopped, job.stopping) == (None, [])
