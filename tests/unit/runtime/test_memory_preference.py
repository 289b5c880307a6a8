"""How much more often one sample is visited than another."""

from __future__ import annotations

import math

import numpy as np
import pytest

from smart_sifting.memory.preference import strength_after, visit_rates, window_rates
from smart_sifting.memory.score_memory import NO_CLASS

NAN, INF = float("nan"), float("inf")


def test_the_rate_is_highest_at_half_of_the_first_epochs_mean_loss():
    losses = np.linspace(0, 8, 161, dtype=np.float32)
    scores = np.concatenate([np.zeros(200, np.float32), losses])
    rates = visit_rates(scores, strength=0.8, first_mean=2.0)[200:]
    assert losses[rates.argmax()] == 1.0
    assert (np.diff(rates[:21]) > 0).all()
    assert (np.diff(rates[20:]) < 0).all()


def test_a_rate_follows_the_spread_of_a_coin():
    # Peak 1: q is 1, 1/2, 1/4 and 1/16, its spread 0, 1/2, sqrt(3)/4 and sqrt(15)/16.
    spreads = np.array([0, 0, 0, 0.5, math.sqrt(3) / 4, math.sqrt(15) / 16])
    rates = visit_rates(np.float32([0, 0, 0, 1, 2, 4]), strength=1.0, first_mean=2.0)
    assert rates.tolist() == pytest.approx((spreads / spreads.mean()).tolist(), rel=1e-6)


def test_small_losses_are_preferred_by_their_roots():
    rates = visit_rates(np.float32([0.01, 0.04, 0.0]), strength=1.0, first_mean=100.0)
    assert rates[1] / rates[0] == pytest.approx(2, rel=0.01)


def test_confidently_wrong_samples_get_less_than_undecided_ones():
    """20 % flipped labels must not be what an epoch is made of."""
    scores = np.float32([0.2] * 8 + [3.5] * 2)
    rates = visit_rates(scores, strength=0.8, first_mean=1.75)
    assert rates[9] < 1 < rates[0]


def test_high_losses_are_not_suspect_as_long_as_most_are_high():
    scores = np.float32([5.0, 6.0, 6.5, 7.0, 8.0])
    rates = visit_rates(scores, strength=0.8, first_mean=6.5)
    assert rates.argmax() == 2
    assert rates.min() > 0.97


def test_without_a_first_epoch_the_median_is_preferred():
    rates = visit_rates(np.float32([0.5, 1.0, 3.0]), strength=0.5, first_mean=None)
    assert rates.argmax() == 1


@pytest.mark.parametrize("strength", [0.2, 0.8])
def test_no_rate_is_further_below_the_mean_than_the_strength(strength):
    rates = visit_rates(np.float32([0.0, 0.0, 1.0]), strength=strength, first_mean=2.0)
    assert rates.tolist() == pytest.approx([1 - strength, 1 - strength, 1 + 2 * strength])


def test_without_strength_all_rates_are_one():
    rates = visit_rates(np.float32([0.0, 0.3, 7.0]), strength=0.0, first_mean=2.0)
    assert rates.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("first_mean", [2.0, None])
@pytest.mark.parametrize(
    "scores",
    [[NAN] * 3, [NAN, INF, NAN], [0.0] * 3, [-2.0, -1.0, 0.0], [2.5] * 3, []],
    ids=["unknown", "not finite", "learned", "below zero", "constant", "empty"],
)
def test_what_tells_nothing_apart_has_the_mean_rate(scores, first_mean):
    rates = visit_rates(np.float32(scores), strength=0.8, first_mean=first_mean)
    assert rates.tolist() == pytest.approx([1.0] * len(scores))


def test_the_unknown_have_the_mean_rate_and_the_known_share_theirs():
    rates = visit_rates(np.float32([NAN, 0.0, INF, 1.0]), strength=0.8, first_mean=2.0)
    assert rates.tolist() == pytest.approx([1.0, 0.2, 1.0, 1.8])


def test_the_mean_is_one_whatever_the_losses():
    scores = np.random.default_rng(0).gamma(0.3, 1.0, 300_000).astype(np.float32)
    rates = visit_rates(scores, strength=0.8, first_mean=1.0)
    assert rates.mean(dtype=np.float64) == pytest.approx(1, abs=1e-6)


def test_the_preference_is_whole_for_four_visits_and_gone_after_eight():
    strengths = [strength_after(visits) for visits in (0, 4, 5, 6, 8, 100)]
    assert strengths == pytest.approx([0.8, 0.8, 0.6, 0.4, 0, 0])


def test_no_class_falls_below_a_part_of_an_equal_share_and_the_others_give_way():
    scores = np.repeat(np.float32([0.0, 0.1, 1.0]), 30)
    classes = np.repeat(np.array([2, 60000, NO_CLASS], np.uint16), 30)
    plain = visit_rates(scores, strength=0.8, first_mean=2.0)
    # Of 60 samples the class is known, one of two: 36 in all is what they have together.
    lifted = visit_rates(
        scores, strength=0.8, first_mean=2.0, classes=classes, class_floor=0.4, keep=0.5
    )
    assert plain[0] == pytest.approx(0.2)
    assert plain[:60].sum() == pytest.approx(36, rel=1e-3)
    assert lifted[::30].tolist() == pytest.approx([7.2 / 30, 28.8 / 30, plain[60]], rel=1e-3)
    assert lifted.mean() == pytest.approx(1, abs=1e-6)


def test_giving_way_pushes_no_other_class_below_its_least():
    scores = np.repeat(np.float32([0.0, 0.2, 1.0]), 30)
    classes = np.repeat(np.arange(3, dtype=np.uint16), 30)
    lifted = visit_rates(
        scores, strength=0.5, first_mean=2.0, classes=classes, class_floor=0.98, keep=0.5
    )
    means = lifted.reshape(3, 30).mean(axis=1).tolist()
    assert means == pytest.approx([0.98, 0.98, 1.04], abs=1e-5)


def test_a_class_with_few_samples_is_visited_whole_whatever_their_losses():
    scores = np.float32([0.0, 5.0, *[0.5] * 98])
    classes = np.array([1] * 2 + [0] * 98, np.uint16)
    rates = visit_rates(
        scores, strength=0.8, first_mean=2.0, classes=classes, class_floor=0.5, keep=0.25
    )
    assert rates[:2].tolist() == pytest.approx([4.0, 4.0])
    assert rates[2:].tolist() == pytest.approx([92 / 98] * 98)


def test_a_class_counts_as_often_as_its_samples_are_shown():
    """A sampler that balances two classes leaves nothing to lift, whatever the data's own sizes."""
    classes = np.array([1] * 10 + [0] * 90, np.uint16)
    rates = unpreferred_rates(classes, keep=0.5, shows=np.array([9] * 10 + [1] * 90))
    assert rates.tolist() == pytest.approx([1.0] * 100)


def test_samples_that_are_not_shown_or_not_known_take_part_in_nothing():
    classes = np.array([1] * 2 + [0] * 38 + [NO_CLASS] * 60, np.uint16)
    rates = unpreferred_rates(classes, keep=0.25, shows=np.array([1] * 40 + [0] * 60))
    assert rates.tolist() == pytest.approx([4.0] * 2 + [32 / 38] * 38 + [1.0] * 60)


def unpreferred_rates(classes: np.ndarray, keep: float, shows: np.ndarray) -> np.ndarray:
    """What the floor of classes alone makes of samples that are all alike."""
    return visit_rates(
        np.ones(len(classes)),
        strength=0.0,
        first_mean=1.0,
        classes=classes,
        class_floor=0.5,
        keep=keep,
        shows=shows,
    )


@pytest.mark.parametrize("few", [50, 51, 60, 80, 100])
def test_a_small_class_gets_its_least_though_no_sample_comes_twice(few: int):
    """The preferred half of it alone would be over one visit, and what is over be lost."""
    sizes = [few, *[(2000 - few) // 9] * 9]
    classes = np.repeat(np.arange(10, dtype=np.uint16), sizes)
    scores = np.where(np.arange(len(classes)) % 2, 0.5, 8.0)
    rates = visit_rates(
        scores, strength=0.8, first_mean=1.0, classes=classes, class_floor=0.5, keep=0.5
    )
    visits = np.minimum(rates * 0.5, 1)
    assert visits[:few].sum() == pytest.approx(50, abs=0.5)


def test_with_equal_shares_for_all_classes_nothing_is_left_for_the_others():
    draws = np.random.default_rng(0)
    classes = draws.integers(0, 10, 1000).astype(np.uint16)
    rates = visit_rates(
        draws.gamma(1, 1, 1000),
        strength=0.8,
        first_mean=1.0,
        classes=classes,
        class_floor=1.0,
        keep=0.1,
    )
    of_each = np.bincount(classes, weights=rates)
    assert of_each.tolist() == pytest.approx([100.0] * 10, rel=1e-3)


def test_a_script_may_ask_numpy_to_raise():
    with np.errstate(all="raise"):
        rates = visit_rates(np.array([1e-30, 1e4, 1.0]), strength=0.8, first_mean=1e-3)
    assert np.isfinite(rates).all()


def test_classes_of_one_size_are_as_frequent_as_before_where_nothing_is_preferred():
    classes = np.repeat(np.arange(10, dtype=np.uint16), 50)
    rates = visit_rates(
        np.ones(500), strength=0.0, first_mean=1.0, classes=classes, class_floor=1.0, keep=0.3
    )
    assert rates.tolist() == [1.0] * 500


def test_a_window_beside_all_the_others_has_the_rates_that_all_would_have():
    losses = np.array([0.0, 0.05, 0.3, 0.7, 1.5, 4.0, np.nan], np.float16)
    rates = visit_rates(losses, strength=0.8, first_mean=2.0)
    few = window_rates(losses[[1, 5, 6]], losses[:6], strength=0.8, first_mean=2.0)
    assert few == pytest.approx([rates[1], rates[5], 1.0], abs=1e-3)


@pytest.mark.parametrize("known", [[], [0.0, 0.0]])
def test_beside_losses_that_tell_nothing_a_window_has_the_mean_rate(known):
    rates = window_rates(np.array([1.0, 2.0]), np.array(known), strength=0.8, first_mean=None)
    assert rates.tolist() == [1.0, 1.0]
