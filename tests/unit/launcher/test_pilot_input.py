"""Pilots that cannot be: each is one line that holds the mend, and nothing has run."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (
            ["train.py", "--keep", "1.5"],
            "--keep 1.5: 1.5 is no share to try; shares are more than 0 and less than 1, as in "
            "--keep 0.7,0.5,0.35",
        ),
        (["train.py", "--seeds", "0"], "--seeds 0 is no number of repeats: 1 or more"),
        (
            ["train.py", "--tolerance", "-1"],
            "--tolerance -1 is no amount: 0 or more, in the metric's own unit",
        ),
        (
            ["train.py", "--tolerance", "nan"],
            "--tolerance nan is no amount: 0 or more, in the metric's own unit",
        ),
        (
            ["train.py", "--metric", "accuracy"],
            "--metric 'accuracy' has no group: put the figure in parentheses, as in --metric "
            "'test accuracy: ([0-9.]+)'",
        ),
        (
            ["train.py", "--instance", "ml.g5.xlarge"],
            "--instance ml.g5.xlarge: a pilot runs on this machine, in process, local or "
            "local_gpu; what it recommends goes for a job in SageMaker too",
        ),
        (
            ["train.py", "--sift-config", '{"source": "batch"}'],
            '--sift-config: source "batch" prefers no sample, which is what the control does '
            "already: leave it out",
        ),
        (
            ["train.py", "3"],
            "unexpected '3': what the script should get goes after -- (sift-launch --help)",
        ),
        (["train.py", "--no-sift"], "no such option: --no-sift"),
        (["trian.py"], "no such script: trian.py (did you mean train.py?)"),
        (["train.py", "--name", "a.b"], "'a.b' cannot be a job's name"),
        (["train.py", "--name", "x" * 60], f"'{'x' * 60}-plain' cannot be a job's name"),
    ],
)
def test_a_wrong_call_is_one_line(call, state, project, typed, told):
    ended = call("pilot", *typed)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith(told)
    assert ended.err.count("\n") == 1
    assert not state.exists()
    assert [path.name for path in project.iterdir()] == ["train.py"]


def test_without_a_script_the_help_is_shown(call):
    ended = call("pilot")
    assert ended.code == 2
    assert ended.err.startswith("Usage: sift-launch pilot [OPTIONS] SCRIPT [-- SCRIPT ARGS]")
    for word in ("--seed-argument", "--tolerance", "--data", "--sift-delay", "--with", "--json"):
        assert word in ended.err


def test_what_the_project_says_of_a_launch_is_known_to_a_pilot(call, project, state):
    (project / "sift.toml").write_text('keep = 0.3\n[data]\ntrain = "missing"\n')
    ended = call("pilot", "train.py")
    assert ended.code == 2
    assert ended.err.startswith(f"channel train: {project}/missing does not exist")
