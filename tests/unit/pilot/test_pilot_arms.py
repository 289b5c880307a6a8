"""What a pilot runs."""

from __future__ import annotations

import pytest

from sift_launcher.errors import OptionError, SiftConfigError
from sift_launcher.pilot.arms import PLAIN, Arm, Trial, check_base, parse_shares, trials
from smart_sifting.sift_config.job_config import SiftConfig


def test_every_share_is_tried_beside_its_control_and_plain_comes_first():
    assert trials((0.7, 0.35), 1, control=True) == (
        Trial(PLAIN),
        Trial(Arm("sifted", 0.7)),
        Trial(Arm("even", 0.7)),
        Trial(Arm("sifted", 0.35)),
        Trial(Arm("even", 0.35)),
    )


def test_repeats_take_turns():
    assert [trial.label for trial in trials((0.5,), 2, control=False)] == [
        "plain",
        "keep 0.5",
        "plain, seed 1",
        "keep 0.5, seed 1",
    ]


@pytest.mark.parametrize(
    ("trial", "name"),
    [
        (Trial(PLAIN), "digits-plain"),
        (Trial(Arm("sifted", 0.5)), "digits-keep-50"),
        (Trial(Arm("even", 0.125)), "digits-even-12-5"),
        (Trial(Arm("sifted", 0.07), repeat=2), "digits-keep-7-seed-2"),
    ],
)
def test_a_trial_names_its_job(trial, name):
    assert trial.job_name("digits") == name
    assert trial.job_name("digits", attempt=3) == f"{name}-again-3"


def test_an_arm_says_how_its_job_is_sifted():
    base = SiftConfig(keep=0.9, sift_delay=7, loss="mine:Loss", acceptance="probabilistic")
    assert PLAIN.config(base).keep == 1.0
    sifted = Arm("sifted", 0.5).config(base)
    assert (sifted.keep, sifted.source, sifted.sift_delay, sifted.loss) == (
        0.5,
        "auto",
        7,
        "mine:Loss",
    )
    even = Arm("even", 0.5).config(base)
    assert (even.keep, even.source, even.sift_delay, even.loss) == (0.5, "batch", 7, None)


def test_every_repeat_draws_anew():
    trial = Trial(PLAIN, repeat=2)
    assert trial.config(SiftConfig(seed=40)).seed == 42


@pytest.mark.parametrize(
    ("seed_argument", "arguments"),
    [
        (None, ("--epochs", "3")),
        ("--seed", ("--epochs", "3", "--seed", "1")),
        ("seed=", ("--epochs", "3", "seed=1")),
    ],
)
def test_a_script_takes_its_seed_in_its_own_way(seed_argument, arguments):
    assert Trial(PLAIN, repeat=1).arguments(("--epochs", "3"), seed_argument) == arguments


def test_shares_are_read_from_the_largest_down():
    assert parse_shares("0.35, 0.7,.5") == (0.7, 0.5, 0.35)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("1.5", "--keep 1.5: 1.5 is no share to try; shares are more than 0 and less than 1"),
        ("0.5,1", "--keep 0.5,1: 1 is no share to try"),
        ("0.5,0", "--keep 0.5,0: 0 is no share to try"),
        ("nan", "--keep nan: nan is no share to try"),
        ("half", "--keep half: 'half' is no number"),
        ("", "--keep : '' is no number"),
        ("0.5,.5", "--keep 0.5,.5 names a share twice"),
    ],
)
def test_what_is_no_share_is_refused(typed, told):
    with pytest.raises(OptionError) as refused:
        parse_shares(typed)
    assert str(refused.value).startswith(told)


def test_no_repeat_at_all_is_refused():
    with pytest.raises(OptionError, match="--seeds 0 is no number of repeats: 1 or more"):
        trials((0.5,), 0, control=True)


def test_a_control_beside_itself_is_refused():
    with pytest.raises(SiftConfigError, match="what the control does already"):
        check_base(SiftConfig(source="batch"))
    check_base(SiftConfig(source="memory"))
