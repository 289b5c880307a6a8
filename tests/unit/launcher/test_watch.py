"""What ends a job before its time, on a clock of the test's."""

from __future__ import annotations

import pytest

from sift_launcher.local.watch import CutShort, Halt, Limits, Watch


class Job:
    def __init__(self, waited: float = 0.0, spot_at: float = 1e9, **limits: float) -> None:
        self.now = 50.0
        self.wishes: set[str] = set()
        self.spot_at = spot_at
        limits = {"run": 100.0, "stop": 20.0, "notice": 7.0} | limits
        self.watch = Watch(
            Limits(**limits), self.wishes.__contains__, self, waited, lambda: self.now
        )

    def is_due(self, trained: float) -> bool:
        return trained >= self.spot_at

    def next_look(self, trained: float) -> float:
        return self.spot_at - trained

    def train(self, seconds: float) -> Halt | None:
        with self.watch.on_instances(), self.watch.training():
            self.now += seconds
            return self.watch.halt()


def test_nothing_halts_a_job_within_its_limits():
    job = Job()
    assert job.train(99.5) is None
    assert job.watch.next_look() == 0.5
    job.watch.check()


def test_a_wish_halts_it_with_the_usual_grace():
    job = Job()
    job.wishes.add("stop")
    assert job.watch.halt() == Halt("Stopped", 20.0)
    with pytest.raises(CutShort, match="Stopped"):
        job.watch.check()


def test_its_run_time_counts_over_all_attempts_without_the_time_between():
    job = Job()
    assert job.train(60) is None
    job.now += 1000
    assert job.train(39) is None
    assert job.watch.next_look() == 1
    assert job.train(1) == Halt("MaxRuntimeExceeded", 20.0)


def test_downloading_counts_as_run_time_and_not_as_training():
    job = Job(spot_at=10)
    with job.watch.on_instances():
        job.now += 40
    assert job.watch.halt() is None
    assert job.watch.next_look() == 10
    assert job.train(10) == Halt("Interrupted", 7.0)
    assert job.train(50) == Halt("MaxRuntimeExceeded", 20.0)


def test_its_wait_time_counts_from_its_creation():
    job = Job(waited=30.0, wait=120.0)
    assert job.train(40) is None
    job.now += 49
    assert job.watch.next_look() == 1
    job.now += 1
    assert job.watch.halt() == Halt("MaxWaitTimeExceeded", 20.0)


def test_an_interruption_is_one_and_nothing_else_is():
    assert Halt("Interrupted", 1.0).is_interruption
    assert not Halt("Stopped", 1.0).is_interruption
