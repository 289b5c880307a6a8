"""What is remembered of a sample, and for how long."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch

from smart_sifting.errors import SiftingError, SiftingStateException
from smart_sifting.memory.score_memory import NO_CLASS, VISIT, ScoreMemory

NAN, INF = float("nan"), float("inf")
NOTHING = np.zeros(1, np.int32)


def remembered(*epochs: list[float | None], smoothing: float = 0.25) -> list[float]:
    """The scores after epochs with these losses of all samples; None: not trained on."""
    memory = ScoreMemory(len(epochs[0]), smoothing=smoothing)
    for losses in epochs:
        trained = [i for i, loss in enumerate(losses) if loss is not None]
        memory.record(np.array(trained, np.int64), np.array([losses[i] for i in trained]))
        memory.settle(NOTHING)
    return memory.scores.tolist()


def test_a_score_is_a_moving_average_of_the_epochs_losses():
    assert remembered([4.0, 1.0], [8.0, 1.0], [1.0, 5.0]) == [4.0, 2.0]


def test_a_sample_that_was_not_trained_on_keeps_its_score():
    assert remembered([4.0, 1.0], [8.0, None]) == [5.0, 1.0]


def test_the_first_loss_is_the_score_and_an_unknown_one_is_nan():
    first, unknown = remembered([None, None], [3.0, None])
    assert first == 3.0
    assert np.isnan(unknown)


def test_losses_count_from_the_end_of_their_epoch_on():
    memory = ScoreMemory(2)
    memory.record(np.array([0, 1]), np.array([1.0, 2.0]))
    assert np.isnan(memory.scores).all()
    memory.settle(NOTHING)
    assert memory.scores.tolist() == [1.0, 2.0]
    assert np.isnan(memory.fresh).all()


def test_of_several_losses_of_a_sample_in_an_epoch_the_last_counts():
    memory = ScoreMemory(2)
    memory.record(np.array([1, 0, 1]), np.array([1.0, 2.0, 3.0]))
    memory.settle(NOTHING)
    assert memory.scores.tolist() == [2.0, 3.0]


@pytest.mark.parametrize("broken", [NAN, INF, -INF])
def test_a_loss_that_is_not_finite_is_told_apart_and_does_not_poison_the_average(broken):
    memory = ScoreMemory(2)
    memory.record(np.array([0, 1]), np.array([4.0, 4.0]))
    memory.settle(NOTHING)
    memory.record(np.array([0]), np.array([broken]))
    memory.settle(NOTHING)
    assert memory.not_finite.tolist() == [True, False]
    assert memory.scores.tolist() == [INF, 4.0]

    memory.record(np.array([0]), np.array([2.0]))
    memory.settle(NOTHING)
    assert memory.not_finite.tolist() == [False, False]
    assert memory.scores.tolist() == [2.0, 4.0]


def test_a_loss_beyond_what_is_stored_is_clipped_and_is_still_a_number():
    assert remembered([1e9, -1e9]) == [65504.0, -65504.0]


def test_no_loss_at_all_is_one_value_whatever_its_sign():
    memory = ScoreMemory(2)
    memory.record(np.array([0, 1]), np.array([-0.0, 0.0], np.float32))
    assert memory.fresh.view(np.uint16).tolist() == [0, 0]


def test_classes_are_remembered_and_those_out_of_range_are_unknown():
    memory = ScoreMemory(5)
    assert memory.classes is None
    losses = np.zeros(4)
    memory.record(np.arange(4), losses, np.array([-100, 7, 65534, 65535]))
    assert memory.classes.tolist() == [NO_CLASS, 7, 65534, NO_CLASS, NO_CLASS]


def test_credits_change_at_the_end_of_an_epoch_and_are_bounded():
    memory = ScoreMemory(3)
    memory.settle(np.array([VISIT // 2, -VISIT, 0]))
    assert memory.credits.tolist() == [0.5, -1.0, 0.0]
    memory.settle(np.array([100 * VISIT, -100 * VISIT, 0]))
    assert [round(credit) for credit in memory.credits.tolist()] == [4, -4, 0]


def test_eight_bytes_are_kept_of_a_sample():
    state = ScoreMemory(1000).state_dict()
    stored = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    assert stored == 8000 == 1000 * ScoreMemory.bytes_per_sample


def test_the_classes_of_new_samples_are_asked_for():
    memory = ScoreMemory(2)
    memory.record(np.arange(2), np.ones(2), np.array([0, 1]))
    assert memory.all_classes
    memory.grow(3)
    assert not memory.all_classes
    memory.record(np.array([2]), np.ones(1), np.array([1]))
    assert memory.all_classes
    memory.forget_classes()
    assert memory.classes is None
    assert not memory.all_classes


def test_a_script_may_ask_numpy_to_raise():
    memory = ScoreMemory(2)
    with np.errstate(all="raise"):
        memory.record(np.arange(2), np.array([1e-30, 1e30]))
    assert memory.fresh.tolist() == [0.0, 65504.0]


def test_a_data_set_that_grows_has_unknown_samples_and_one_that_shrinks_forgets():
    memory = ScoreMemory(2)
    memory.record(np.array([0, 1]), np.array([1.0, 2.0]), np.array([3, 4]))
    memory.settle(np.array([VISIT, -VISIT]))
    memory.record(np.array([1]), np.array([6.0]))

    memory.grow(3)
    assert len(memory) == 3
    assert memory.scores[:2].tolist() == [1.0, 2.0]
    assert np.isnan(memory.scores[2])
    assert memory.fresh[1] == 6.0
    assert memory.credits.tolist() == [1.0, -1.0, 0.0]
    assert memory.classes.tolist() == [3, 4, NO_CLASS]

    memory.grow(1)
    memory.grow(2)
    assert memory.scores[0] == 1.0
    assert np.isnan(memory.scores[1])
    assert memory.credits.tolist() == [1.0, 0.0]


def test_a_state_goes_through_a_file_of_nothing_but_data():
    memory = some_memory()
    file = BytesIO()
    torch.save(memory.state_dict(), file)
    file.seek(0)
    resumed = ScoreMemory(3)
    resumed.load_state_dict(torch.load(file, weights_only=True))

    for each in (memory, resumed):
        each.settle(NOTHING)
    assert resumed.scores.tolist() == memory.scores.tolist() == [2.0, 2.0, INF]
    assert resumed.credits.tolist() == [0.25, -0.75, 0.0]
    assert resumed.classes.tolist() == [3, 40000, 5]


def test_a_state_is_of_its_moment():
    memory = some_memory()
    state = memory.state_dict()
    memory.record(np.array([1]), np.array([9.0]))
    memory.settle(NOTHING)
    assert state["score"].tolist() == [1.0, 2.0, INF]
    assert state["credit"].tolist() == [VISIT // 4, -VISIT * 3 // 4, 0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"score": torch.zeros(4, dtype=torch.float16)},
            "sifting state: score is torch.float16 of shape (4,), and this data set needs "
            "torch.float16 of shape (3,)",
        ),
        (
            {"credit": torch.zeros(3)},
            "sifting state: credit is torch.float32 of shape (3,), and this data set needs "
            "torch.int16 of shape (3,)",
        ),
        ({"class": [1, 2, 3]}, "sifting state: class is missing or no tensor"),
        ({"fresh": None}, "sifting state: fresh is missing or no tensor"),
    ],
    ids=["another length", "another type", "no tensor", "missing"],
)
def test_a_foreign_state_is_refused_and_changes_nothing(wrong, message):
    memory = some_memory()
    before = memory.state_dict()
    foreign = {**ScoreMemory(3).state_dict(), **wrong}
    with pytest.raises(SiftingStateException) as refused:
        memory.load_state_dict(foreign)
    assert str(refused.value) == message
    assert isinstance(refused.value, SiftingError)
    after = memory.state_dict()
    assert all(before[name].equal(after[name]) for name in ("credit", "class"))
    assert memory.scores.tolist() == [1.0, 2.0, INF]


def some_memory() -> ScoreMemory:
    memory = ScoreMemory(3)
    memory.record(np.arange(3), np.array([1.0, 2.0, NAN]), np.array([3, 40000, 5]))
    memory.settle(np.array([VISIT // 4, -VISIT * 3 // 4, 0]))
    memory.record(np.array([0]), np.array([2.0]))
    return memory
