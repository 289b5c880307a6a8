"""A window is scored in the cheapest way that ranks its samples as the plain one does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn, tensor
from torch.nn.functional import cross_entropy

from smart_sifting.epoch_plan import Shape
from smart_sifting.loss import Loss
from smart_sifting.meter import Meter
from smart_sifting.scoring import EvenScorer, ForwardScorer, Scores
from smart_sifting.scoring_cost import Way, WindowScorer, rank_correlation
from smart_sifting.sift_config.job_config import SiftConfig
from smart_sifting.sifted_epoch import SiftedEpoch
from smart_sifting.sifter import Sifter

ROWS = 8
BATCHES = 2

Window = list[tuple[Tensor, Tensor, int]]


class Timed:
    """A sample's loss is the sample; a call and a sample cost what they are said to.

    Each call is remembered as (samples, bfloat16).
    """

    def __init__(self, call: float = 0.0, sample: float = 0.001, bfloat16: float = 1.0) -> None:
        self.now = 0.0
        self.calls: list[tuple[int, bool]] = []
        self.modules = [nn.Linear(1, 1)]
        self.cost = (call, sample, bfloat16)
        self.in_bfloat16: Callable[[Tensor], Tensor] = lambda losses: losses
        self.in_one: Callable[[Tensor], Tensor] = lambda losses: losses

    def __call__(
        self, transformed: Tensor, original: Any, samples: int, *, at_once: bool = False
    ) -> Scores:
        call, sample, factor = self.cost
        bfloat16 = torch.is_autocast_enabled("cpu")
        self.calls.append((samples, bfloat16))
        self.now += (call + sample * samples) * (factor if bfloat16 else 1.0)
        losses = self.in_bfloat16(transformed) if bfloat16 else transformed
        return Scores((self.in_one(losses) if at_once else losses).double(), transformed.long())

    def clock(self) -> float:
        return self.now


def windows(count: int, batches: int = BATCHES) -> Iterator[Window]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        parts = torch.rand(batches * ROWS, generator=generator).split(ROWS)
        yield [(part, part, ROWS) for part in parts]


def scored(scorer: WindowScorer, count: int) -> None:
    for window in windows(count):
        scorer(window)


def ways_after_trials(score: Timed, said: list[str] | None = None) -> list[tuple[int, bool]]:
    """The calls that the first window after the trials is scored by."""
    scorer = WindowScorer(score, clock=score.clock, said=(said or []).append)
    scored(scorer, 3)
    score.calls.clear()
    scored(scorer, 1)
    return score.calls


PLAINLY = [(ROWS, False)] * BATCHES


def test_bfloat16_is_taken_where_it_is_cheaper() -> None:
    assert ways_after_trials(Timed(bfloat16=0.6)) == [(ROWS, True)] * BATCHES


def test_a_whole_window_is_scored_at_once_where_calls_are_what_costs() -> None:
    assert ways_after_trials(Timed(call=0.01, sample=0.0)) == [(BATCHES * ROWS, False)]


def test_both_are_taken_where_both_pay() -> None:
    score = Timed(call=0.01, sample=0.001, bfloat16=0.5)
    assert ways_after_trials(score) == [(BATCHES * ROWS, True)]


@pytest.mark.parametrize("bfloat16", [0.95, 1.0, 4.0, 40.0])
def test_what_saves_too_little_is_left(bfloat16: float) -> None:
    assert ways_after_trials(Timed(bfloat16=bfloat16)) == PLAINLY


def test_a_saving_below_the_clocks_own_errors_is_left() -> None:
    assert ways_after_trials(Timed(sample=1e-5, bfloat16=0.1)) == PLAINLY


def test_what_ranks_samples_another_way_is_left() -> None:
    score = Timed(call=0.01, bfloat16=0.1)
    score.in_bfloat16 = lambda losses: -losses
    score.in_one = lambda losses: losses.flip(0)
    assert ways_after_trials(score) == PLAINLY


@pytest.mark.parametrize("failing", ["in_bfloat16", "in_one"])
def test_what_the_users_code_cannot_do_is_left(failing: str) -> None:
    def fails(losses: Tensor) -> Tensor:
        raise RuntimeError("shape '[8, -1]' is invalid")

    score = Timed(call=0.01, sample=0.0, bfloat16=0.1)
    setattr(score, failing, fails)
    wanted = [(BATCHES * ROWS, False)] if failing == "in_bfloat16" else [(ROWS, True)] * BATCHES
    assert ways_after_trials(score) == wanted


def test_windows_on_trial_get_the_plain_scores() -> None:
    score = Timed(bfloat16=0.6)
    score.in_bfloat16 = lambda losses: losses + 1
    scorer = WindowScorer(score, clock=score.clock)
    for at, window in enumerate(windows(5)):
        plain = torch.cat([part for part, _, _ in window])
        scores = scorer(window)
        assert torch.equal(scores.losses, (plain if at < 3 else plain + 1).double())
        assert scores.labels is not None
        assert scores.labels.tolist() == [0] * 16


def test_that_scores_come_in_bfloat16_is_said_once() -> None:
    said: list[str] = []
    score = Timed(bfloat16=0.6)
    scored(WindowScorer(score, clock=score.clock, said=said.append), 300)
    assert said == ["scoring runs in bfloat16, in 0.60 of the time it took"]


def test_a_way_that_fails_later_is_given_up_and_no_window_is_lost() -> None:
    def fails(losses: Tensor) -> Tensor:
        raise RuntimeError("not in bfloat16")

    said: list[str] = []
    score = Timed(bfloat16=0.6)
    scorer = WindowScorer(score, clock=score.clock, said=said.append)
    scored(scorer, 4)
    score.in_bfloat16 = fails
    (window,) = windows(1)
    assert scorer(window).losses.tolist() == torch.cat([x[0] for x in window]).tolist()
    score.calls.clear()
    scored(scorer, 1)
    assert score.calls == PLAINLY
    assert said[1:] == ["scoring runs in bfloat16 no longer: RuntimeError"]


def test_what_fails_in_the_plain_way_too_is_the_users_to_see() -> None:
    score = Timed(bfloat16=0.6)
    scorer = WindowScorer(score, clock=score.clock)
    scored(scorer, 4)
    with pytest.raises(AttributeError, match="'str' object has no attribute 'double'"):
        scorer([("not", "a tensor", ROWS)])


def test_a_way_that_no_longer_ranks_the_same_is_left_again() -> None:
    score = Timed(bfloat16=0.6)
    scorer = WindowScorer(score, clock=score.clock)
    scored(scorer, 4)
    score.in_bfloat16 = lambda losses: losses.flip(0)
    scored(scorer, 256)
    score.calls.clear()
    scored(scorer, 1)
    assert score.calls == PLAINLY


def test_at_most_one_window_in_a_hundred_is_scored_in_more_than_one_way() -> None:
    score = Timed(bfloat16=0.6)
    scorer = WindowScorer(score, clock=score.clock)
    scored(scorer, 3)
    score.calls.clear()
    scored(scorer, 1024)
    plain = sum(not bfloat16 for _, bfloat16 in score.calls)
    assert 0 < plain / BATCHES <= 10


def test_where_no_way_is_cheaper_nothing_is_compared_any_more() -> None:
    score = Timed()
    scorer = WindowScorer(score, clock=score.clock)
    scored(scorer, 3)
    score.calls.clear()
    scored(scorer, 1000)
    assert score.calls == [(ROWS, False)] * BATCHES * 1000


def test_a_way_that_is_hopeless_is_tried_once() -> None:
    score = Timed(bfloat16=30.0)
    scored(WindowScorer(score, clock=score.clock), 3)
    assert sum(bfloat16 for _, bfloat16 in score.calls) == 3  # two batches, and the window at once


def test_a_short_window_is_not_compared() -> None:
    score = Timed(bfloat16=0.6)
    scorer = WindowScorer(score, clock=score.clock)
    scored(scorer, 1)
    score.calls.clear()
    scorer(next(windows(1, batches=1)))
    assert score.calls == [(ROWS, False)]


def test_a_script_that_asks_for_deterministic_algorithms_is_scored_plainly() -> None:
    score = Timed(call=0.01, bfloat16=0.1)
    torch.use_deterministic_algorithms(True)
    try:
        scored(WindowScorer(score, clock=score.clock), 5)
    finally:
        torch.use_deterministic_algorithms(False)
    assert score.calls == PLAINLY * 5


@pytest.mark.parametrize("how", ["torch.compile", "Module.compile"])
def test_a_compiled_model_is_not_compiled_again_for_another_way(how: str) -> None:
    score = Timed(call=0.01, bfloat16=0.1)
    inner = nn.Linear(1, 1)
    if how == "torch.compile":
        score.modules = [nn.Sequential(torch.compile(inner, backend="eager"))]
    else:
        inner.compile(backend="eager")
        score.modules = [nn.Sequential(inner)]
    scored(WindowScorer(score, clock=score.clock), 5)
    assert score.calls == PLAINLY * 5


def test_a_resumed_job_goes_on_in_the_way_settled_on() -> None:
    score = Timed(bfloat16=0.6)
    scorer = WindowScorer(score, clock=score.clock)
    scored(scorer, 4)
    # A machine on which bfloat16 is slow: it would not be chosen anew.
    resumed_score = Timed(bfloat16=2.0)
    resumed = WindowScorer(resumed_score, clock=resumed_score.clock)
    resumed.load_state_dict(scorer.state_dict())
    scored(resumed, 200)
    assert resumed_score.calls == [(ROWS, True)] * BATCHES * 200


def test_a_job_resumed_before_its_trials_were_over_begins_them_again() -> None:
    score = Timed(bfloat16=0.6)
    scorer = WindowScorer(score, clock=score.clock)
    scored(scorer, 2)
    resumed_score = Timed(bfloat16=0.6)
    resumed = WindowScorer(resumed_score, clock=resumed_score.clock)
    resumed.load_state_dict(scorer.state_dict())
    scored(resumed, 3)
    resumed_score.calls.clear()
    scored(resumed, 1)
    assert resumed_score.calls == [(ROWS, True)] * BATCHES


def test_the_way_settled_on_is_in_a_sifters_state() -> None:
    def sifter_of(score: Timed) -> Sifter:
        return Sifter(SiftConfig(keep=0.5), score, meter=Meter(score.clock))

    sifter = sifter_of(Timed(bfloat16=0.6))
    shape = Shape(640, ROWS)
    source = iter(torch.rand(640).split(ROWS))
    list(SiftedEpoch(sifter, source, sifter.plan(shape), shape))
    resumed = sifter_of(Timed(bfloat16=2.0))
    resumed.load_state_dict(sifter.state_dict())
    assert sifter.score.way == resumed.score.way == Way(bfloat16=True)


def test_what_scores_nothing_has_no_cheaper_way() -> None:
    labels = torch.arange(ROWS)
    batch = (torch.rand(ROWS, 2), labels)
    scores = WindowScorer(EvenScorer())([(batch, batch, ROWS)] * 2)
    assert scores.losses.tolist() == [0.0] * 16
    assert scores.labels is not None
    assert scores.labels.tolist() == [*range(8), *range(8)]


class CrossEntropy(Loss):
    def loss(self, model, transformed_batch, original_batch=None):
        inputs, labels = original_batch
        return cross_entropy(model(inputs), labels, reduction="none")


def test_a_real_model_is_left_without_a_trace_in_every_way() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    batches = [(torch.rand(6, 4), torch.randint(0, 3, (6,))) for _ in range(2)]
    score = ForwardScorer(CrossEntropy(), model)
    scorer = WindowScorer(score)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    for _ in range(4):
        scores = scorer([(batch, batch, 6) for batch in batches])
        assert scores.losses.tolist() == pytest.approx(
            torch.cat([score(batch, batch, 6).losses for batch in batches]).tolist(), rel=0.05
        )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(module.training for module in model.modules())
    assert not torch.is_autocast_enabled("cpu")
    inputs, labels = batches[0]
    cross_entropy(model(inputs), labels).backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("some", "others", "wanted"),
    [
        ([1.0, 2.0, 3.0], [10.0, 20.0, 21.0], 1.0),
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], -1.0),
        ([1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 4.0, 3.0], 0.6),
        ([1.0, 1.0, 2.0], [5.0, 5.0, 6.0], 1.0),
        ([1.0, 1.0, 2.0], [5.0, 4.0, 6.0], 0.8660254),
        ([0.5, 0.5], [3.0, 3.0], 1.0),
        ([0.5, 0.5], [3.0, 4.0], 0.0),
        ([1.0, float("nan"), 2.0], [1.0, float("inf"), 2.0], 1.0),
        ([1.0, float("nan"), 2.0], [1.0, 3.0, 2.0], 0.0),
        ([float("nan")], [float("nan")], 1.0),
    ],
)
def test_ranks_are_compared_as_spearman_does(some, others, wanted) -> None:
    assert rank_correlation(tensor(some), tensor(others)) == pytest.approx(wanted)
