"""The command line that a pilot ends with."""

from __future__ import annotations

import shlex

import pytest

from sift_launcher.cli import cmd_train
from sift_launcher.cli.cmd_pilot import command
from sift_launcher.cli.pilot_options import next_line
from sift_launcher.cli.to_spec import parse_pairs, to_spec
from sift_launcher.pilot.arms import PLAIN, Arm
from smart_sifting.sift_config.job_config import SiftConfig

TYPED = [
    *("--keep", "0.5", "--seeds", "3", "--name", "pilot", "--metric", "a(.)", "--no-control"),
    *("--data", "train=my data", "--data", "test=x", "-p", "lr=0.1", "--sift-delay", "7"),
    *("--loss", "mine:Loss", "--with", "lab", "--json", "train.py", "--", "--note", "as typed"),
]


def line(arm: Arm, typed: list[str], base: SiftConfig) -> str:
    context = command.make_context("pilot", list(typed))
    return next_line(context, "train.py", context.obj, arm, base)


BASE = SiftConfig(sift_delay=7, loss="mine:Loss")
LAUNCH = "--with lab --hyperparameter lr=0.1 --data 'train=my data' --data test=x"
SCRIPT = "train.py -- --note 'as typed'"


def test_a_share_is_trained_on_with_all_else_as_it_was_typed():
    assert line(Arm("sifted", 0.5), TYPED, BASE) == (
        f"sift-launch --keep 0.5 {LAUNCH} --sift-delay 7 --loss mine:Loss {SCRIPT}"
    )


def test_everything_is_trained_on_without_a_word_of_sifting():
    assert line(PLAIN, TYPED, BASE) == f"sift-launch --no-sift {LAUNCH} {SCRIPT}"


def test_an_even_share_says_all_that_it_was_run_with():
    assert line(Arm("even", 0.35), TYPED, BASE) == (
        "sift-launch --keep 0.35 --sift-config "
        f"""'{{"sift_delay": 7, "source": "batch"}}' {LAUNCH} {SCRIPT}"""
    )


@pytest.mark.parametrize(
    ("arm", "options"),
    [
        (Arm("sifted", 0.125), "--keep 0.125"),
        (Arm("even", 0.5), """--keep 0.5 --sift-config '{"source": "batch"}'"""),
        (PLAIN, "--no-sift"),
    ],
)
def test_what_was_not_typed_is_not_in_it(arm, options):
    assert line(arm, ["train.py"], SiftConfig()) == f"sift-launch {options} train.py"


@pytest.mark.parametrize("arm", [PLAIN, Arm("sifted", 0.5), Arm("even", 0.5)])
def test_the_line_is_one_that_a_launch_takes(arm):
    words = shlex.split(line(arm, TYPED, BASE))[1:]
    context = cmd_train.command.make_context("sift-launch", words)
    spec = to_spec("train.py", context.obj, parse_pairs(context.params))
    assert spec.arguments == ("--note", "as typed")
    assert spec.channels["train"].place == "my data"
    assert spec.sift_config == (None if arm == PLAIN else arm.config(BASE))
