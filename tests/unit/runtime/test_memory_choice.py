"""Which samples an epoch takes, and how often each is visited in the end."""

from __future__ import annotations

import random
from io import BytesIO

import numpy as np
import pytest
import torch

from smart_sifting.errors import SiftingStateException, UnsupportedDataFormatException
from smart_sifting.memory.choice import EpochChoice
from smart_sifting.memory.score_memory import ScoreMemory

NAN, INF = float("nan"), float("inf")


class Run:
    """Epochs over a shuffled data set; counts the visits."""

    def __init__(self, samples: int, *, seed: int = 0) -> None:
        self.memory = ScoreMemory(samples)
        self.choice = EpochChoice(seed)
        self.shuffle = np.random.default_rng(7)
        self.visits = np.zeros(samples, np.int64)
        self.shown = np.zeros(samples, np.int64)

    def epoch(self, quota: int, *, sequence=None, preference=None, left=None) -> np.ndarray:
        """What one epoch gives. `left`: the script leaves its loop after so many samples."""
        samples = len(self.memory)
        sequence = self.shuffle.permutation(samples) if sequence is None else sequence
        chosen = self.choice.choose(self.memory, sequence, quota, preference=preference)
        assert len(chosen) == min(quota, len(sequence))
        given = chosen[:left]
        np.add.at(self.visits, given, 1)
        np.add.at(self.shown, sequence, 1)
        self.choice.settle(self.memory, given, len(sequence))
        return given


def test_the_chosen_come_in_the_samplers_order():
    run = Run(1000)
    sequence = run.shuffle.permutation(1000)
    chosen = run.epoch(400, sequence=sequence)
    place = np.argsort(sequence)
    assert (np.diff(place[chosen]) > 0).all()


@pytest.mark.parametrize(
    ("quota", "expected"), [(0, 0), (1, 1), (9, 9), (10, 10), (11, 10)], ids=str
)
def test_an_epoch_gives_exactly_its_quota_or_all_there_is(quota, expected):
    assert len(Run(10).epoch(quota)) == expected


def test_an_empty_sequence_gives_nothing():
    assert Run(3).epoch(2, sequence=np.empty(0, np.int64)).tolist() == []


@pytest.mark.parametrize(("quota", "epochs", "visits"), [(50, 2, 1), (30, 10, 3), (70, 10, 7)])
def test_with_equal_rates_every_sample_is_visited_equally_often(quota, epochs, visits):
    run = Run(100)
    for cycle in range(1, 6):
        for _ in range(epochs):
            run.epoch(quota)
            assert run.visits.max() - run.visits.min() <= 1
        assert run.visits.tolist() == [cycle * visits] * 100


def test_which_half_comes_first_is_drawn_anew_every_time():
    run = Run(400)
    halves = [run.epoch(200) for _ in range(6)]
    first = [set(half.tolist()) for half in halves[::2]]
    # Of 200 out of 400, 100 are expected in common, with a standard deviation of 5.
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert 70 < len(first[one] & first[other]) < 130


def test_the_draws_are_of_the_seed():
    sequence = np.arange(100)
    drawn = {seed: Run(100, seed=seed).epoch(50, sequence=sequence).tolist() for seed in (0, 1)}
    assert drawn[0] == Run(100, seed=0).epoch(50, sequence=sequence).tolist()
    assert drawn[0] != drawn[1]


def test_the_users_generators_are_left_alone():
    np.random.seed(1)
    torch.manual_seed(1)
    random.seed(1)
    before = np.random.random(), torch.rand(1).item(), random.random()
    np.random.seed(1)
    torch.manual_seed(1)
    random.seed(1)
    Run(100).epoch(50)
    assert (np.random.random(), torch.rand(1).item(), random.random()) == before


@pytest.mark.parametrize("quota", [100, 500, 900])
def test_visits_follow_the_rates_to_within_one(quota):
    run = Run(1000)
    weights = np.random.default_rng(3).uniform(0.5, 1.5, 1000).astype(np.float32)
    for _ in range(200):
        run.epoch(quota, preference=weights)
    expected = 200 * filled(weights, quota)
    assert abs(run.visits - expected).max() < 1


def filled(weights: np.ndarray, total: int) -> np.ndarray:
    """min(1, scale * weights), which add up to `total`: by bisection."""
    low, high = 0.0, 1e6
    for _ in range(200):
        scale = (low + high) / 2
        low, high = (scale, high) if np.minimum(1, scale * weights).sum() < total else (low, scale)
    return np.minimum(1, low * weights)


def test_what_is_over_one_visit_an_epoch_goes_to_the_others():
    run = Run(4)
    weights = np.array([9.0, 2.0, 1.0, 1.0], np.float32)
    for _ in range(100):
        run.epoch(2, preference=weights)
    assert run.visits[0] == 100
    assert abs(run.visits - np.array([100, 50, 25, 25])).max() <= 1


def test_a_samplers_own_weights_survive():
    """With replacement: each occurrence has its sample's rate."""
    run = Run(100)
    shares = np.arange(1, 101) / 5050
    draws = np.random.default_rng(4)
    for _ in range(200):
        run.epoch(50, sequence=draws.choice(100, 100, p=shares))
    assert run.shown.min() < 10
    assert run.shown.max() > 300
    assert abs(run.visits - run.shown / 2).max() <= 1


def test_of_equal_occurrences_the_first_are_taken():
    run = Run(3)
    assert run.epoch(3, sequence=np.array([2, 2, 1, 2, 1, 2])).tolist() == [2, 2, 1]


def test_what_the_sampler_never_shows_saves_up_nothing():
    run = Run(100)
    for _ in range(50):
        run.epoch(30, sequence=run.shuffle.permutation(60))
    assert run.memory.credits[60:].tolist() == [0.0] * 40
    assert run.visits.tolist() == [25] * 60 + [0] * 40

    run.epoch(50)
    assert 40 > run.visits[60:].sum() > 5


def test_those_that_are_not_shown_take_nobodys_place():
    run = Run(100)
    visited = run.epoch(50)
    assert set(run.epoch(25, sequence=visited).tolist()) <= set(visited.tolist())


def test_a_script_that_leaves_its_loop_early_is_charged_for_what_it_got():
    run = Run(100)
    weights = np.repeat(np.float32([1.5, 0.5]), 50)
    run.epoch(50, preference=weights, left=20)
    assert run.memory.credits.sum() == pytest.approx(0, abs=0.05)
    # The rates are 0.75 and 0.25 of a visit, the first of which were chosen: 20 of 50 came.
    assert np.unique(run.memory.credits.round(2)).tolist() == pytest.approx([-0.7, 0.1, 0.3])

    for _ in range(299):
        run.epoch(50, preference=weights, left=20)
    assert run.visits[:50].mean() == pytest.approx(90, abs=1)
    assert run.visits[50:].mean() == pytest.approx(30, abs=1)


def test_samples_that_were_given_whole_have_had_their_visit():
    run = Run(100)
    sequence = run.shuffle.permutation(100)
    whole, rest = sequence[:40], sequence[40:]
    chosen = run.choice.choose(run.memory, rest, 30, whole=whole)
    assert len(set(chosen.tolist()) - set(rest.tolist())) == 0
    run.choice.settle(run.memory, np.concatenate([whole, chosen]), 100)
    np.add.at(run.visits, np.concatenate([whole, chosen]), 1)

    # Their rate was 0.7 like that of all others, and 30 had no visit yet: they come first now.
    assert np.unique(run.memory.credits.round(2)).tolist() == pytest.approx([-0.3, 0.7])
    assert run.visits.sum() == 70
    run.epoch(50)
    assert run.visits.min() == 1
    assert run.visits.sum() == 120


def test_a_script_that_leaves_its_loop_early_was_given_some_whole():
    run = Run(100)
    whole = np.arange(40)
    run.choice.choose(run.memory, np.arange(40, 100), 30, whole=whole)
    run.choice.settle(run.memory, whole[:35], 100)
    assert run.memory.credits.tolist() == pytest.approx([-0.65] * 35 + [0.35] * 65, abs=0.001)


def test_an_occurrence_after_one_given_whole_is_its_samples_second():
    run = Run(3)
    rest = np.array([0, 1, 2])
    assert run.choice.choose(run.memory, rest, 2, whole=np.array([0])).tolist() == [1, 2]


@pytest.mark.parametrize("broken", [NAN, INF])
def test_what_the_model_could_not_digest_comes_first_and_is_not_held_against_it(broken):
    run = Run(100)
    for _ in range(4):
        chosen = run.epoch(10)
    # Visited just now, it is owed less than any that still waits for its first visit.
    sample = chosen[0]
    for visits in (2, 3, 4):
        run.memory.record(chosen[:1], np.array([broken]))
        run.choice.settle(run.memory, np.empty(0, np.int64), 100)
        assert sample in run.epoch(10)
        assert run.visits[sample] == visits
    assert run.memory.credits[sample] == pytest.approx(-0.6, abs=0.01)


def test_when_nothing_is_finite_every_sample_is_visited_equally_often():
    run = Run(100)
    for _ in range(8):
        run.memory.record(np.arange(100), np.full(100, NAN))
        run.epoch(25)
    assert run.visits.tolist() == [2] * 100


@pytest.mark.parametrize(("sequence", "wrong"), [([0, 5, 1], 5), ([0, -1, 1], -1)])
def test_an_index_outside_of_the_data_set_is_refused(sequence, wrong):
    with pytest.raises(UnsupportedDataFormatException) as refused:
        Run(5).epoch(1, sequence=np.array(sequence))
    assert str(refused.value) == (
        f"the sampler gave the index {wrong}, and the data set has 5 samples"
    )


def test_an_epoch_that_is_begun_again_chooses_the_same_samples():
    run = Run(200)
    for _ in range(3):
        run.epoch(90)
    memory, choice = through_a_file(run.memory.state_dict(), run.choice.state_dict())
    sequence = run.shuffle.permutation(200)
    chosen = run.choice.choose(run.memory, sequence, 90)
    # Killed in the middle of the epoch: the losses so far are in the memory, nothing else is.
    run.memory.record(chosen[:40], np.ones(40))

    resumed = Run(200)
    resumed.memory.load_state_dict(memory)
    resumed.choice.load_state_dict(choice)
    assert resumed.choice.choose(resumed.memory, sequence, 90).tolist() == chosen.tolist()


def test_a_job_that_ended_between_two_epochs_goes_on_as_if_it_had_not():
    run, resumed = Run(200), Run(200)
    chosen = run.choice.choose(run.memory, np.arange(200), 90)
    memory, choice = through_a_file(run.memory.state_dict(), run.choice.state_dict())
    resumed.memory.load_state_dict(memory)
    resumed.choice.load_state_dict(choice)
    for each in (run, resumed):
        each.choice.settle(each.memory, chosen[:50], 200)
    assert resumed.epoch(90).tolist() == run.epoch(90).tolist()
    assert resumed.memory.credits.tolist() == run.memory.credits.tolist()


def through_a_file(*states: dict) -> list[dict]:
    file = BytesIO()
    torch.save(list(states), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epoch": None}, "sifting state: epoch or planned is missing or no count"),
        ({"planned": -1}, "sifting state: epoch or planned is missing or no count"),
        ({"gains": torch.zeros(3)}, "sifting state: gains is missing or not a row of integers"),
        ({"gains": [1, 2]}, "sifting state: gains is missing or not a row of integers"),
    ],
    ids=["no epoch", "negative", "floats", "no tensor"],
)
def test_a_foreign_state_is_refused(wrong, message):
    choice = EpochChoice(0)
    with pytest.raises(SiftingStateException) as refused:
        choice.load_state_dict({**choice.state_dict(), **wrong})
    assert str(refused.value) == message


def test_the_state_of_another_data_set_is_refused():
    run, other = Run(10), Run(12)
    run.choice.choose(run.memory, np.arange(10), 5)
    other.choice.load_state_dict(run.choice.state_dict())
    with pytest.raises(SiftingStateException) as refused:
        other.choice.settle(other.memory, np.arange(5), 12)
    assert str(refused.value) == "sifting state: gains of 10 samples in a data set of 12"
