"""The command that the project is named for, from its code to its model, without AWS."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runner import Cli

FASHION = Path(__file__).parents[3] / "examples" / "fashion_mnist" / "train.py"
PATIENCE_SECONDS = 600.0


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    project = tmp_path / "project"
    project.mkdir()
    cli = Cli(project, tmp_path / "state", PATIENCE_SECONDS)
    yield cli
    assert cli("rehearsal", "stop").returncode == 0
    cli.end()


# Says that its third epoch is over, and goes no further on these instances.
WAITS = """
def print(line, say=print):
    say(line)
    while line.startswith("epoch 3/6"):
        time.sleep(0.01)


"""


def rehearse(cli: Cli, script: str, pictures: Path, name: str, *options: str) -> tuple[str, dict]:
    """A rehearsed spot job; what it printed, and its receipt."""
    done: subprocess.CompletedProcess[str] = cli(
        *(script, "--instance", "ml.g5.xlarge", "--rehearse", "--spot", "--name", name),
        *("--data", f"train={pictures}", *options, "--", "--epochs", "6", "--threads", "1"),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(cli("receipt", name, "--json").stdout)


def accuracy(log: str) -> float:
    return float(re.findall(r"^test accuracy: (.*)", log, re.M)[0])


def test_a_spot_job_that_is_interrupted_ends_as_one_that_is_not(cli, pictures):
    body, main, call = FASHION.read_text().rpartition("if __name__")
    waits = cli.script(body + WAITS + main + call)
    broken, receipt = rehearse(cli, waits, pictures, "broken", "--rehearse-interrupt", "50%")
    whole, unbroken = rehearse(cli, str(FASHION), pictures, "whole")
    assert [each["Status"] for each in cli.describe("broken")["SecondaryStatusTransitions"]] == [
        *("Starting", "Downloading", "Training", "Interrupted"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    assert "epoch 1/6" in broken
    assert broken.count("epoch 6/6") == 1
    assert re.findall(r"going on after epoch (.)/6", broken) == ["3"]
    # Six epochs over 1,200 pictures, of which half are kept, whatever was in between.
    assert [each["samples"]["seen"] for each in (receipt, unbroken)] == [7200, 7200]
    assert [each["samples"]["kept"] for each in (receipt, unbroken)] == [3600, 3600]
    assert [len(each["resumed"]) for each in (receipt, unbroken)] == [1, 0]
    assert accuracy(broken) == pytest.approx(accuracy(whole), abs=0.05)
    assert cli("download", "broken").returncode == 0
    with tarfile.open(cli.results("broken") / "model.tar.gz") as archive:
        assert archive.getnames() == ["model.pt"]
