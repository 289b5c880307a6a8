"""Sifting stops where it costs more than it saves, and for nothing less."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import product

import pytest
import torch
from torch import Tensor

from smart_sifting.epoch_plan import Shape
from smart_sifting.guard import Guard
from smart_sifting.meter import Meter
from smart_sifting.scoring import EvenScorer, Scores
from smart_sifting.sift_config.job_config import SiftConfig
from smart_sifting.sifted_epoch import SiftedEpoch
from smart_sifting.sifter import Sifter

BATCH = 10


class Job:
    """A job of windows of two batches, one of which is trained on; times are for one sample."""

    def __init__(
        self, scoring: float, training: float, loading: float = 0.0, *, loads_dropped: bool = True
    ) -> None:
        self.now = 0.0
        self.scoring, self.training, self.loading = scoring, training, loading
        self.meter = Meter(lambda: self.now)
        self.guard = Guard(0.5, lambda: self.now, loads_dropped=loads_dropped)

    def window(self) -> str | None:
        for _ in range(2):
            self.now += self.loading * BATCH
            self.meter.data_seconds += self.loading * BATCH
            self.meter.fetched(BATCH)
        self.now += self.scoring * 2 * BATCH
        self.meter.window_scored(self.scoring * 2 * BATCH, 2 * BATCH)
        self.now += self.training * BATCH
        self.meter.step(self.training * BATCH, measured=True)
        return self.guard.verdict(self.meter)

    def run(self, seconds: float) -> str | None:
        """The verdict after so many seconds more."""
        end, verdict = self.now + seconds, None
        while self.now < end:
            verdict = self.window()
        return verdict


@pytest.mark.parametrize(
    ("scoring", "training"),
    [(0.001, 0.003), (0.001, 0.0021), (0.0, 0.001)],
    ids=["usual", "barely", "free"],
)
def test_a_job_whose_scoring_pays_goes_on(scoring: float, training: float) -> None:
    assert Job(scoring, training).run(600) is None


def test_a_job_whose_scoring_does_not_pay_is_stopped_with_the_figures() -> None:
    assert Job(0.0019, 0.003).run(60) == (
        "scoring takes 1.9 ms a sample, more than the 1.5 ms that dropping 50 % of them saves"
    )


def test_where_there_is_nothing_in_it_either_way_the_job_goes_on() -> None:
    assert Job(0.00102, 0.002).run(600) is None


def test_a_verdict_needs_three_readings_that_are_five_seconds_apart() -> None:
    job = Job(0.002, 0.003)
    assert job.run(10.0) is None
    assert job.run(6.0) is not None


@pytest.mark.parametrize("missing", ["windows", "steps"])
def test_without_enough_measured_there_is_no_verdict(missing: str) -> None:
    job = Job(0.002, 0.003)
    job.meter.fetched(BATCH)
    for at in range(200):
        job.now += 60.0
        if missing == "windows" or at < 19:
            job.meter.step(0.003 * BATCH, measured=True)
        if missing == "steps" or at < 15:
            job.meter.window_scored(0.002 * BATCH, BATCH)
        assert job.guard.verdict(job.meter) is None


def test_a_busy_moment_of_the_machine_is_no_reason_to_stop() -> None:
    job = Job(0.001, 0.003)
    for _ in range(20):
        job.scoring = 0.001
        job.run(60)
        job.scoring = 0.1
        assert job.run(7.5) is None


def test_steps_with_an_evaluation_in_them_do_not_hide_what_steps_cost() -> None:
    job = Job(0.002, 0.003)
    for at in range(500):
        job.training = 5.0 if at % 10 == 9 else 0.003
        verdict = job.window()
    assert verdict is not None


def test_windows_that_others_slow_down_do_not_hide_what_scoring_costs() -> None:
    job = Job(0.001, 0.003)
    for at in range(2000):
        job.scoring = 0.5 if at % 10 == 9 else 0.001
        assert job.window() is None


def test_good_readings_between_bad_ones_forgive_them() -> None:
    job = Job(0.002, 0.003)
    # Long enough for one or two readings, of which the median is bad; then good ones.
    for scoring in (0.002, 0.0001) * 50:
        job.scoring = scoring
        assert job.run(9.0) is None


def test_what_was_said_is_never_taken_back() -> None:
    job = Job(0.002, 0.003)
    said = job.run(60)
    job.scoring = 0.0
    assert said is not None
    assert job.run(600) == said


def test_what_memory_drops_saves_its_loading_too() -> None:
    forward = Job(0.002, 0.003, loading=0.002)
    memory = Job(0.002, 0.003, loading=0.002, loads_dropped=False)
    assert forward.run(60) is not None
    assert memory.run(60) is None


def test_a_job_that_waits_for_its_data_is_told_so_and_goes_on() -> None:
    job = Job(0.0005, 0.002, loading=0.005)
    assert job.run(60) is None
    assert job.guard.input_bound == (
        "a sample is waited for 5 ms and trained on in 2 ms, and what is dropped has been loaded "
        "by then: a faster loader saves more than sifting can"
    )


@pytest.mark.parametrize(("loading", "loads_dropped"), [(0.001, True), (0.005, False)])
def test_a_job_that_does_not_wait_or_loads_nothing_in_vain_is_not_told_so(
    loading: float, loads_dropped: bool
) -> None:
    job = Job(0.0005, 0.002, loading=loading, loads_dropped=loads_dropped)
    job.run(60)
    assert job.guard.input_bound is None


def test_slow_first_batches_do_not_make_a_job_wait_for_its_data() -> None:
    job = Job(0.0005, 0.002, loading=0.5)
    job.run(20)
    job.loading = 0.0
    job.run(60)
    assert job.guard.input_bound is None


def test_asking_costs_less_than_five_microseconds() -> None:
    guard, meter = Guard(0.5), Meter()
    for _ in range(100):
        meter.fetched(BATCH)
        meter.window_scored(0.01, BATCH)
        meter.step(0.01, measured=True)
    guard.verdict(meter)
    best = min(_seconds_of_a_thousand(guard, meter) for _ in range(20))
    assert best < 1000 * 5e-6


def _seconds_of_a_thousand(guard: Guard, meter: Meter) -> float:
    start = time.perf_counter()
    for _ in range(1000):
        guard.verdict(meter)
    return time.perf_counter() - start


# -- in a sifted epoch -----------------------------------------------------------------------------


class Costly:
    """A sample is its loss; scoring a batch takes its time."""

    modules = ()

    def __init__(self, now: list[float], seconds: float) -> None:
        self.now = now
        self.seconds = seconds
        self.scored = 0

    def __call__(self, transformed: Tensor, original: object, samples: int) -> Scores:
        self.now[0] += self.seconds
        self.scored += samples
        return Scores(transformed.double())


def epoch(sifter: Sifter, now: list[float], samples: int = 10_000) -> list[list[int]]:
    """What one epoch gives; every training step takes a second."""

    def source() -> Iterator[Tensor]:
        yield from torch.arange(samples).split(50)

    given = []
    shape = Shape(samples, 50)
    for batch in SiftedEpoch(sifter, source(), sifter.plan(shape), shape):
        now[0] += 1.0
        given.append(batch.tolist())
    return given


def sifter_of(seconds: float, told: list[str], **config: object) -> tuple[Sifter, list[float]]:
    now = [0.0]
    meter = Meter(lambda: now[0], told=told.append)
    settings = SiftConfig.parse({"keep": 0.5, **config})
    return Sifter(settings, Costly(now, seconds), meter=meter), now


STOPPED = (
    "nothing is scored any more, the same share is kept evenly: scoring takes 30 ms a sample, "
    "more than the 10 ms that dropping 50 % of them saves"
)


def test_where_scoring_does_not_pay_an_epoch_goes_on_without_it_and_keeps_its_plan() -> None:
    told: list[str] = []
    sifter, now = sifter_of(1.5, told)
    score = sifter.score
    given = epoch(sifter, now)
    assert told == [STOPPED]
    assert [len(batch) for batch in given] == [50] * 100
    kept = [each for batch in given for each in batch]
    assert kept == sorted(set(kept))
    # The first windows are scored, and high ones preferred; the last ones evenly.
    windows = [[x % 100 for x in kept if x // 100 == at] for at in range(100)]
    assert [len(window) for window in windows] == [50] * 100
    early, late = windows[:16], windows[-40:]
    assert sum(map(sum, early)) / 800 > 55
    assert sum(map(sum, late)) / 2000 == pytest.approx(49.5, abs=2.0)
    assert sifter.score is not score


def test_what_was_trained_on_often_enough_is_not_scored_any_longer() -> None:
    told: list[str] = []
    sifter, now = sifter_of(0.1, told)
    scored: list[int] = []
    for _ in range(17):
        before = len(sifter.meter.history)
        kept = [each % 100 for batch in epoch(sifter, now, 1000) for each in batch]
        scored.append(len(sifter.meter.history) - before)
        assert len(kept) == 500
    # Sixteen epochs of half of the samples are eight visits of each.
    assert scored == [10] * 16 + [0]
    assert sum(kept) / 500 == pytest.approx(49.5, abs=3.0)
    assert told == [
        "nothing is scored any more, the same share is kept evenly: the model was trained on each "
        "sample 8.0 times, and from there on the hardest are no better choice"
    ]


def test_data_that_never_ends_is_scored_for_ever() -> None:
    told: list[str] = []
    sifter, now = sifter_of(0.1, told)
    for _ in range(20):
        passed = SiftedEpoch(sifter, iter(torch.arange(1000).split(50)), None, Shape(None, 50))
        for _ in range(5):
            next(passed)
            now[0] += 1.0
        passed.close()
    assert told == []


def test_where_everything_is_kept_nothing_is_said_of_scoring() -> None:
    told: list[str] = []
    sifter, now = sifter_of(0.1, told, keep=1.0)
    for _ in range(10):
        epoch(sifter, now, 1000)
    assert told == []


def test_under_aws_s_own_rule_every_epoch_is_scored() -> None:
    told: list[str] = []
    sifter, now = sifter_of(0.1, told, acceptance="probabilistic")
    for _ in range(20):
        epoch(sifter, now, 1000)
    assert told == []


def test_nothing_is_scored_once_it_is_stopped_and_nothing_is_made_up_of_it() -> None:
    sifter, now = sifter_of(1.5, [])
    epoch(sifter, now)
    points, seconds = len(sifter.meter.history), sifter.meter.scoring_seconds
    epoch(sifter, now)
    assert sifter.meter.scoring_seconds == seconds
    assert len(sifter.meter.history) == points


def test_scoring_that_pays_is_not_stopped() -> None:
    told: list[str] = []
    sifter, now = sifter_of(0.1, told)
    epoch(sifter, now)
    assert told == []
    assert sifter.unscored is None


def test_even_scores_keep_exactly_the_plan() -> None:
    cases = product((33, 100, 437), (8, 32), (0.1, 0.5, 0.9), (False, True), (0, 3))
    for samples, batch_size, keep, drop_last, delay in cases:
        sifter = Sifter(SiftConfig(keep=keep, sift_delay=delay), EvenScorer())
        whole = samples - samples % batch_size if drop_last else samples
        shape = Shape(whole, batch_size, drop_last)
        plan = sifter.plan(shape)
        assert plan is not None
        source = iter(torch.arange(whole).split(batch_size))
        given = [batch.tolist() for batch in SiftedEpoch(sifter, source, plan, shape)]
        kept = [each for batch in given for each in batch]
        case = (samples, batch_size, keep, drop_last, delay)
        assert (len(kept), len(given)) == (plan.kept, plan.batches), case
        assert kept == sorted(set(kept)), case


@pytest.mark.parametrize("fixed", ["probabilistic", "deterministic"])
def test_where_a_clock_must_not_decide_scoring_goes_on(fixed: str) -> None:
    told: list[str] = []
    acceptance = "probabilistic" if fixed == "probabilistic" else "quota"
    sifter, now = sifter_of(1.5, told, acceptance=acceptance)
    torch.use_deterministic_algorithms(fixed == "deterministic")
    try:
        epoch(sifter, now)
    finally:
        torch.use_deterministic_algorithms(False)
    assert told == []


def test_a_resumed_job_scores_no_more_either() -> None:
    sifter, now = sifter_of(1.5, [])
    epoch(sifter, now)
    resumed, later = sifter_of(1.5, [])
    resumed.load_state_dict(sifter.state_dict())
    assert epoch(resumed, later) == epoch(sifter, now)
    assert resumed.meter.scoring_seconds == 0.0


def test_that_data_are_waited_for_is_told_once() -> None:
    told: list[str] = []
    sifter, now = sifter_of(0.1, told)
    shape = Shape(10_000, 50)

    def source() -> Iterator[Tensor]:
        for batch in torch.arange(10_000).split(50):
            now[0] += 2.0
            yield batch

    for _ in SiftedEpoch(sifter, source(), sifter.plan(shape), shape):
        now[0] += 1.0
    assert told == [
        "a sample is waited for 40 ms and trained on in 20 ms, and what is dropped has been "
        "loaded by then: a faster loader saves more than sifting can"
    ]


def test_the_meter_goes_on_with_the_windows_that_it_had_measured() -> None:
    meter = Meter()
    meter.fetched(BATCH)
    meter.fetched(BATCH // 2)
    meter.window_scored(0.5, 100)
    meter.window_scored(0.25, 100)
    resumed = Meter()
    resumed.load_state_dict(meter.state_dict())
    assert (resumed.windows, list(resumed.window_costs)) == (2, [0.005, 0.0025])
    assert resumed.largest_batch == BATCH
