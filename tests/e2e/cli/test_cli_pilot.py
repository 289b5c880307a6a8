"""A pilot from the command line to its recommendation."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

LOOPS = Path(__file__).parents[1] / "loops"

# A job without the seconds that torch takes: it says of each arm what its first argument has for
# it, and leaves the receipt that such a job would leave.
PLAYED = """
import json, os, pathlib, sys, time
config = json.loads(os.environ["SM_HP_SIFT_CONFIG"])
keep, even = config["keep"], config["source"] == "batch"
arm = "plain" if keep == 1 else f"{'even' if even else 'keep'} {keep:g}"
told = json.loads(sys.argv[1])[arm]
with open(os.environ["RAN"], "a") as ran:
    ran.write(arm + "".join(" " + each for each in sys.argv[2:]) + "\\n")
receipt = {
    "schema": 1, "final": True, "reason": "verified",
    "tier": "batch" if even or told == "blind" else "memory",
    "keep": keep, "acceptance": "quota", "rank": 0, "world_size": 1,
    "samples": {"seen": 1000, "kept": int(1000 * keep), "dropped": 0, "left_over": 0,
                "non_finite": 0},
    "batches": {"seen": 100, "given": 50}, "steps": 50, "epochs": 1,
    "seconds": {"total": 0, "scoring": 0, "training": 10 * keep, "data": 0, "discovery": 0},
    "unsifted": {"step_seconds": 0, "data_seconds": 0, "measured_steps": 0, "seconds": 0},
    "saved": {"seconds": 0, "share": 0, "dollars": None},
    "classes": [], "history": [], "loaders": [], "notes": [], "versions": {},
}
pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "receipt.json").write_text(json.dumps(receipt))
if told == "fails" and not pathlib.Path(os.environ["RAN"] + ".mended").exists():
    raise ValueError("no luck")
if told == "hangs" and not pathlib.Path(os.environ["RAN"] + ".mended").exists():
    print("hanging", flush=True)
    while True: time.sleep(0.01)
print("test accuracy:", told if isinstance(told, float) else 0.9)
"""
PAYS = {"plain": 0.9, "keep 0.5": 0.901, "even 0.5": 0.88}


@pytest.fixture
def pilot(cli, tmp_path):
    """A pilot of the played script with one share; `ran` is what its jobs did, in order."""
    cli.script(PLAYED)
    cli.environment["RAN"] = str(tmp_path / "ran")
    return lambda figures, *options, arguments=(): cli(
        *("pilot", "train.py", "--keep", "0.5", "--name", "try"),
        *(*options, "--", json.dumps(figures), *arguments),
    )


@pytest.fixture
def ran(tmp_path):
    return lambda: (tmp_path / "ran").read_text().splitlines()


def folder(cli) -> Path:
    return cli.project / "sift-output" / "try"


def test_a_share_that_pays_is_recommended_with_the_line_to_type(cli, pilot, ran):
    ended = pilot(PAYS)
    assert ended.returncode == 0, ended.stderr
    assert ran() == ["plain", "keep 0.5", "even 0.5"]
    typed = "sift-launch --keep 0.5 train.py -- '" + json.dumps(PAYS) + "'"
    assert [" ".join(line.split()) for line in ended.stdout.splitlines()] == [
        "arm tier samples seconds accuracy against plain time",
        "─" * 71,
        "plain 1000 10.00 0.9000",
        "keep 0.5 memory 500 5.00 0.9010 +0.0010 -50%",
        "even 0.5 batch 500 5.00 0.8800 -0.0200 -50%",
        "",
        "Train on 50 % of the samples: accuracy 0.9010 against 0.9000 plain, in 50% less time. As "
        "many",
        "without a preference come to 0.8800.",
        "note: one run of each arm: chance moves figures too; --seeds 3 says how far",
        "",
        typed,
        "",
        f"picture: {folder(cli)}/pilot.svg",
    ]
    assert ended.stderr.splitlines() == [
        "pilot try: 3 runs of train.py on this machine, one after the other; Ctrl-C stops it, and "
        "the same line with --name try goes on",
        "1/3 plain: accuracy 0.9000, 1000 samples in 10.00 s",
        "accuracy is read off 'test accuracy: 0.9'; --metric REGEX names another figure",
        "2/3 keep 0.5: accuracy 0.9010, 500 samples in 5.00 s",
        "3/3 even 0.5: accuracy 0.8800, 500 samples in 5.00 s",
    ]
    told = json.loads((folder(cli) / "pilot.json").read_text())
    assert told["recommendation"]["command"] == typed
    assert (folder(cli) / "pilot.svg").read_text().startswith("<svg")
    assert cli.describe("try-keep-50")["TrainingJobStatus"] == "Completed"


def test_runs_that_have_completed_are_kept_by_the_next_call(cli, pilot, ran):
    pilot(PAYS, "--no-control")
    again = pilot(PAYS, "--seeds", "2", "--json")
    assert again.returncode == 0, again.stderr
    assert ran() == ["plain", "keep 0.5", "even 0.5", "plain", "keep 0.5", "even 0.5"]
    told = json.loads(again.stdout)
    jobs = [[run["job"] for run in arm["runs"]] for arm in told["arms"]]
    assert jobs == [
        ["try-plain", "try-plain-seed-1"],
        ["try-keep-50", "try-keep-50-seed-1"],
        ["try-even-50", "try-even-50-seed-1"],
    ]
    assert json.loads((folder(cli) / "pilot.json").read_text()) == told


def test_a_run_whose_outputs_are_gone_is_run_again(cli, pilot, ran):
    pilot(PAYS, "--no-control")
    shutil.rmtree(cli.results("try-plain").parent)
    again = pilot(PAYS, "--no-control")
    assert again.returncode == 0, again.stderr
    assert ran() == ["plain", "keep 0.5", "plain"]


def test_what_was_measured_otherwise_is_not_compared(cli, pilot, ran):
    pilot(PAYS, "--no-control")
    other = pilot(PAYS, "--no-control", arguments=("--epochs", "9"))
    assert other.returncode == 2
    assert other.stderr.splitlines()[-1] == (
        "pilot try has run job try-plain with other options or arguments: what it measured cannot "
        "be compared; choose another --name"
    )
    cli.script(PLAYED + "# changed\n")
    changed = pilot(PAYS, "--no-control")
    assert changed.returncode == 2
    assert "has run job try-plain with other code" in changed.stderr
    assert ran() == ["plain", "keep 0.5"]


def test_a_script_gets_its_seed_where_it_takes_it(pilot, ran):
    pilot(PAYS, "--no-control", "--seeds", "2", "--seed-argument", "--seed")
    assert ran() == ["plain --seed 0", "keep 0.5 --seed 0", "plain --seed 1", "keep 0.5 --seed 1"]


def test_a_script_without_a_metric_is_told_what_to_type_and_has_run_once(cli, pilot, ran):
    cli.script(PLAYED.replace("test accuracy:", "how good:"))
    missed = pilot(PAYS, "--no-control")
    assert missed.returncode == 2
    log = cli.record("try-plain") / "logs" / "algo-1.log"
    assert missed.stderr.splitlines()[-1] == (
        "job try-plain: its log has no figure by a usual name (accuracy, acc, top-1, f1, auc, "
        "perplexity, loss): say how to read it, as in --metric 'test accuracy: ([0-9.]+)'; log: "
        f"{log}"
    )
    assert missed.stdout == ""
    found = pilot(PAYS, "--no-control", "--metric", "how good: (.*)")
    assert found.returncode == 0, found.stderr
    assert "keep 0.5   memory       500      5.00     0.9010" in found.stdout
    assert ran() == ["plain", "keep 0.5"]


def test_a_run_that_fails_is_one_line_beside_what_is_there(cli, pilot, ran, tmp_path):
    figures = PAYS | {"keep 0.5": "fails"}
    failed = pilot(figures)
    assert failed.returncode == 1
    log = cli.record("try-keep-50") / "logs" / "algo-1.log"
    assert failed.stderr.splitlines()[-1] == (
        f"job try-keep-50 failed: ValueError: no luck (exit code 1); log: {log}"
    )
    assert re.findall(r"^(plain|keep|even|Train)", failed.stdout, re.MULTILINE) == ["plain"]
    assert json.loads((folder(cli) / "pilot.json").read_text())["recommendation"] is None
    (tmp_path / "ran.mended").touch()
    mended = pilot(figures)
    assert mended.returncode == 0, mended.stderr
    assert ran() == ["plain", "keep 0.5", "keep 0.5", "even 0.5"]
    told = json.loads((folder(cli) / "pilot.json").read_text())
    assert [arm["runs"][0]["job"] for arm in told["arms"]] == [
        "try-plain",
        "try-keep-50-again-2",
        "try-even-50",
    ]


def test_ctrl_c_stops_the_run_shows_what_is_there_and_exits_130(cli, ran, until, interrupt, pilot):
    figures = json.dumps(PAYS | {"keep 0.5": "hangs"})
    options = ("--keep", "0.5", "--name", "try", "--", figures)
    process = cli.start("pilot", "train.py", *options)
    log = cli.record("try-keep-50") / "logs" / "algo-1.log"
    until(lambda: log.exists() and "hanging" in log.read_text())
    interrupt(process)
    out, err = process.communicate(timeout=cli.patience_seconds)
    assert process.returncode == 130
    assert err.splitlines()[-2:] == [
        "stopping job try-keep-50 and keeping its outputs; Ctrl-C again kills it",
        "pilot try was interrupted after 1 of 3 runs: the same line with --name try goes on",
    ]
    assert re.findall(r"^(plain|keep|even|Train)", out, re.MULTILINE) == ["plain"]
    assert cli.describe("try-keep-50")["TrainingJobStatus"] == "Stopped"
    assert ran() == ["plain", "keep 0.5"]


def test_a_run_of_the_same_pilot_elsewhere_is_not_run_twice(cli, pilot, ran, until, interrupt):
    figures = PAYS | {"plain": "hangs"}
    process = cli.start(
        *("pilot", "train.py", "--keep", "0.5", "--name", "try", "--", json.dumps(figures))
    )
    until(lambda: (cli.record("try-plain") / "pid").exists())
    second = pilot(figures)
    assert second.returncode == 2
    assert second.stderr.splitlines()[-1] == (
        "job try-plain of this pilot is still running: wait for it, or stop it with sift-launch "
        "stop try-plain"
    )
    interrupt(process)
    process.communicate(timeout=cli.patience_seconds)


def test_a_job_s_name_is_no_pilot_s(cli, pilot):
    cli.script("", "other.py")
    cli("other.py", "--name", "try")
    taken = pilot(PAYS)
    assert taken.returncode == 2
    assert taken.stderr == "a job is named 'try': choose another --name for the pilot\n"


def test_a_share_without_a_preference_needs_no_control(pilot, ran):
    ended = pilot(PAYS | {"keep 0.5": "blind"})
    assert ended.returncode == 0, ended.stderr
    assert ran() == ["plain", "keep 0.5"]
    assert ended.stderr.splitlines()[-1] == (
        "3/3 even 0.5: left out, for the share before it had no preference either"
    )
    assert "There is no preference to be had: verified." in ended.stdout.replace("\n", " ")


def test_the_metric_of_the_project_is_used(cli, pilot):
    (cli.project / "sift.toml").write_text('[metrics]\nquality = "accuracy: (.*)"\n')
    ended = pilot(PAYS, "--no-control")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines()[1] == "1/2 plain: quality 0.9000, 1000 samples in 10.00 s"


def test_a_real_training_is_measured_arm_by_arm(cli):
    shutil.copy(LOOPS / "plain.py", cli.project)
    ended = cli("pilot", "plain.py", "--keep", "0.5", "--name", "try", "--json")
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert [(arm["arm"], arm["samples"], arm["runs"][0]["tier"]) for arm in told["arms"]] == [
        ("plain", 6000, "memory"),
        ("keep 0.5", 3000, "memory"),
        ("even 0.5", 3000, "batch"),
    ]
    assert all(0.9 < arm["metric"] <= 1 and arm["seconds"] > 0 for arm in told["arms"])


def test_a_script_that_cannot_be_sifted_is_tried_on_one_share_alone(cli):
    shutil.copy(LOOPS / "gan.py", cli.project)
    ended = cli(*("pilot", "gan.py", "--metric", r"Loss_D: ([0-9.]+)", "--name", "try"))
    assert ended.returncode == 0, ended.stderr
    assert [line.split(":")[0] for line in ended.stderr.splitlines()[1:]] == [
        "1/7 plain",
        "2/7 keep 0.7",
    ]
    assert "Nothing was sifted: 2 optimizers step in turn" in ended.stdout
    assert "sift-launch --no-sift gan.py\n" in ended.stdout
