"""A script written for the withdrawn library runs unchanged, by hand and as a job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "aws/train.py"

# A delay of 10 batches of 50, then a quarter of the other 800 samples; then a quarter of all.
LINE = 'RESULT {"lengths": [20, 13], "batches": [20, 13]}'


def test_it_runs_by_hand(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, str(SCRIPT)], cwd=tmp_path, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    assert LINE in finished.stdout.splitlines()


@pytest.mark.parametrize("options", [(), ("--no-sift",)], ids=["sifted job", "plain job"])
def test_it_runs_as_a_job_and_is_sifted_once_by_itself(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "sift_launcher", "--name", "aws", *options, str(SCRIPT)],
        cwd=tmp_path,
        env=os.environ | {"SIFT_LAUNCHER_HOME": str(tmp_path / "state")},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    assert LINE in finished.stdout.splitlines()
    receipt = json.loads((tmp_path / "sift-output/aws/output/receipt.json").read_text())
    assert (receipt["tier"], receipt["keep"]) == ("forward", 0.25)
    assert receipt["reason"] == "the script uses SiftingDataloader itself"
    assert receipt["samples"]["seen"] == 2000
    assert receipt["samples"]["kept"] == 200 + 200 + 250
    assert receipt["batches"]["given"] == 33
    assert receipt["steps"] == 33
