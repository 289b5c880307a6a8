"""What the measurements say should be done."""

from __future__ import annotations

import math

import pytest

from sift_launcher.pilot.arms import PLAIN, Arm
from sift_launcher.pilot.recommend import recommend
from sift_launcher.pilot.results import Yardstick

HIGHER = Yardstick()
LOWER = Yardstick(lower_is_better=True)
ONE_RUN = "one run of each arm: chance moves figures too; --seeds 3 says how far"


def test_the_smallest_share_that_holds_is_recommended(result):
    told = recommend(
        [
            result("plain", 1, 10.0, 0.91),
            result("sifted", 0.7, 7.0, 0.911),
            result("even", 0.7, 7.0, 0.905),
            result("sifted", 0.5, 5.0, 0.909),
            result("even", 0.5, 5.0, 0.9),
            result("sifted", 0.35, 3.5, 0.9),
            result("even", 0.35, 3.5, 0.89),
        ],
        HIGHER,
        "accuracy",
    )
    assert told.arm == Arm("sifted", 0.5)
    assert told.headline == "train on 50 % of the samples"
    assert told.text == (
        "Train on 50 % of the samples: accuracy 0.9090 against 0.9100 plain (worse by 0.0020 at "
        "most is allowed), in 50% less time. As many without a preference come to 0.9000."
    )
    assert told.notes == (ONE_RUN,)


def test_where_no_share_holds_everything_is_recommended(result):
    told = recommend(
        [
            result("plain", 1, 10.0, 88.25),
            result("sifted", 0.7, 7.0, 87.5),
            result("even", 0.7, 7.0, 87.9),
            result("sifted", 0.5, 5.0, 86.0),
            result("even", 0.5, 5.0, 87.0),
        ],
        HIGHER,
        "accuracy",
    )
    assert told.arm == PLAIN
    assert told.headline == "train on everything"
    assert told.text == (
        "Sifting does not pay here: at keep 0.7 already accuracy is 87.50 against 88.25 plain, "
        "worse by 0.7500 where 0.2000 is allowed. Train on everything."
    )


def test_a_share_that_saves_no_time_does_not_pay(result):
    told = recommend(
        [result("plain", 1, 10.0, 0.9), result("sifted", 0.5, 9.9, 0.9)], HIGHER, "accuracy"
    )
    assert told.arm == PLAIN
    assert told.text == (
        "Sifting does not pay here: keep 0.5 holds accuracy (0.9000 against 0.9000 plain) and "
        "saves no time (9.90 s against 10.00 s). Train on everything."
    )


def test_a_control_as_good_as_the_preference_means_fewer_epochs(result):
    told = recommend(
        [
            result("plain", 1, 10.0, 0.9),
            result("sifted", 0.5, 5.0, 0.901),
            result("even", 0.5, 5.1, 0.9),
        ],
        HIGHER,
        "accuracy",
    )
    assert told.arm == Arm("even", 0.5)
    assert told.headline == "train for fewer epochs, 50 % of them"
    assert told.text == (
        "Train for fewer epochs instead, 50 % of them with a schedule that ends there: accuracy "
        "0.9000 against 0.9000 plain, in 49% less time; a preference among the samples comes to "
        "0.9010."
    )


@pytest.mark.parametrize(
    ("even", "arm"),
    [
        ((0.5, 5.0, 0.8985), Arm("even", 0.5)),  # worse than the preference by less than allowed
        ((0.5, 5.0, 0.8975), Arm("sifted", 0.5)),  # does not hold
        ((0.5, 5.3, 0.9), Arm("sifted", 0.5)),  # as good, and slower
        ((0.35, 3.5, 0.899), Arm("even", 0.35)),  # holds on less
        ((0.7, 4.9, 0.9), Arm("even", 0.7)),  # on more samples, and no slower: scoring costs
    ],
)
def test_a_control_wins_only_where_it_is_as_good_in_no_more_time(result, even, arm):
    told = recommend(
        [
            result("plain", 1, 10.0, 0.9),
            result("sifted", 0.5, 5.0, 0.9),
            result("even", *even),
        ],
        HIGHER,
    )
    assert told.arm == arm


def test_a_preference_that_is_better_by_more_than_is_allowed_beats_a_control_that_holds(result):
    told = recommend(
        [
            result("plain", 1, 10.0, 0.9),
            result("sifted", 0.5, 5.0, 0.905),
            result("even", 0.5, 5.0, 0.9),
        ],
        HIGHER,
    )
    assert told.arm == Arm("sifted", 0.5)


def test_a_control_that_holds_where_no_preference_does_means_fewer_epochs(result):
    told = recommend(
        [
            result("plain", 1, 10.0, 0.9),
            result("sifted", 0.5, 5.0, 0.88),
            result("even", 0.5, 5.0, 0.9),
        ],
        HIGHER,
    )
    assert told.arm == Arm("even", 0.5)


def test_the_control_on_the_fewest_samples_is_the_one_that_is_recommended(result):
    told = recommend(
        [
            result("plain", 1, 10.0, 0.9),
            result("sifted", 0.7, 7.0, 0.88),
            result("even", 0.7, 7.0, 0.9),
            result("sifted", 0.5, 5.0, 0.88),
            result("even", 0.5, 5.0, 0.9),
        ],
        HIGHER,
    )
    assert told.arm == Arm("even", 0.5)


def test_the_lower_the_better_is_heeded(result):
    runs = [
        result("plain", 1, 10.0, 2.0),
        result("sifted", 0.7, 7.0, 1.9),
        result("sifted", 0.5, 5.0, 2.004),
        result("sifted", 0.35, 3.5, 2.005),
    ]
    assert recommend(runs, LOWER).arm == Arm("sifted", 0.5)


@pytest.mark.parametrize(
    ("yardstick", "plain", "metric", "holds"),
    [
        (HIGHER, 0.986, 0.984, True),
        (HIGHER, 0.986, 0.9839, False),
        (HIGHER, 91.0, 90.8, True),
        (HIGHER, 91.0, 90.79, False),
        (Yardstick(tolerance=1.5), 91.0, 89.5, True),
        (Yardstick(tolerance=0.0), 91.0, 90.99, False),
        (Yardstick(tolerance=0.0), 91.0, 91.0, True),
    ],
)
def test_what_is_allowed_is_two_tenths_of_a_point_unless_it_is_said(
    result, yardstick, plain, metric, holds
):
    runs = [result("plain", 1, 10.0, plain), result("sifted", 0.5, 5.0, metric)]
    assert (recommend(runs, yardstick).arm.kind == "sifted") is holds


def test_repeated_runs_allow_one_standard_error_of_their_difference(result):
    # Each arm's is 1.0: sqrt(2) together.
    plain = result("plain", 1, 10.0, 89.0, 91.0)
    assert plain.standard_error == pytest.approx(1.0)
    near = result("sifted", 0.5, 5.0, 87.6, 89.6)
    far = result("sifted", 0.5, 5.0, 87.5, 89.5)
    assert recommend([plain, near], HIGHER).arm == Arm("sifted", 0.5)
    assert recommend([plain, far], HIGHER).arm == PLAIN


def test_a_script_that_cannot_be_sifted_is_told_why(result):
    reason = "2 optimizers step in turn"
    told = recommend(
        [
            result("plain", 1, 10.0, 0.9),
            result("sifted", 0.5, 5.0, 0.9, tier="pass-through", reason=reason),
        ],
        HIGHER,
    )
    assert told.arm == PLAIN
    assert told.text == f"Nothing was sifted: {reason}. Train on everything."


@pytest.mark.parametrize("metric", [math.nan, math.inf])
def test_plain_training_that_diverges_is_nothing_to_compare_with(result, metric):
    told = recommend(
        [result("plain", 1, 10.0, metric), result("sifted", 0.5, 5.0, 0.9)], HIGHER, "accuracy"
    )
    assert told.arm == PLAIN
    assert told.text.startswith("Nothing can be compared: plain training itself ends with")


def test_an_arm_that_diverges_is_not_recommended(result):
    told = recommend(
        [result("plain", 1, 10.0, 2.0), result("sifted", 0.5, 5.0, math.nan)], LOWER, "loss"
    )
    assert told.arm == PLAIN
    assert "at keep 0.5 already loss is nan." in told.text


def test_a_control_that_was_none_counts_for_nothing(result):
    told = recommend(
        [
            result("plain", 1, 10.0, 0.9),
            result("sifted", 0.5, 5.0, 0.9),
            result("even", 0.5, 5.0, 0.9, tier="forward"),
        ],
        HIGHER,
    )
    assert told.arm == Arm("sifted", 0.5)
    assert told.notes == (
        ONE_RUN,
        "the samples of even 0.5 could not be spread evenly (tier forward): it counts for nothing",
        "without the control nobody knows whether fewer epochs would do as well",
    )


def test_a_share_without_a_preference_is_its_own_control(result):
    told = recommend(
        [
            result("plain", 1, 10.0, 0.9),
            result("sifted", 0.5, 5.0, 0.9, tier="batch", reason="its losses are not to be had"),
        ],
        HIGHER,
        "accuracy",
    )
    assert told.arm == Arm("sifted", 0.5)
    assert told.text == (
        "Train for fewer epochs instead, 50 % of them with a schedule that ends there: accuracy "
        "0.9000 against 0.9000 plain, in 50% less time. There is no preference to be had: its "
        "losses are not to be had."
    )
    assert told.notes == (ONE_RUN,)


def test_budgets_that_differ_are_told(result):
    told = recommend(
        [
            result("plain", 1, 10.0, 0.9),
            result("sifted", 0.5, 5.0, 0.9, samples=600),
            result("even", 0.5, 5.0, 0.8, samples=500),
        ],
        HIGHER,
    )
    assert "even 0.5 trained on 500 samples and keep 0.5 on 600: look at the seconds" in told.notes


def test_repeats_that_do_not_differ_are_told(result):
    told = recommend(
        [result("plain", 1, 10.0, 0.9, 0.9), result("sifted", 0.5, 5.0, 0.9, 0.9)], HIGHER
    )
    assert told.notes[0].startswith("all 2 plain runs came to the same figure: if the script")


def test_a_larger_share_that_did_worse_is_told(result):
    told = recommend(
        [
            result("plain", 1, 10.0, 0.9),
            result("sifted", 0.7, 7.0, 0.89),
            result("sifted", 0.5, 5.0, 0.9),
        ],
        HIGHER,
    )
    assert told.arm == Arm("sifted", 0.5)
    assert "keep 0.7 did worse than keep 0.5, most likely by chance" in told.notes
