"""A sifted job whose script is killed, and that goes on from its checkpoints in another job."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from cli_runner import Cli

SCRIPT = Path(__file__).parents[1] / "loops/resumable.py"


# Of the whole job; the rest is of the last process.
OF_THE_JOB = ("train_samples", "train_batches", "metric", "last_lr", "weights")


def result(log: str) -> dict[str, Any]:
    (line,) = (each for each in log.splitlines() if each.startswith("RESULT "))
    found = json.loads(line.removeprefix("RESULT "))
    return {name: found[name] for name in OF_THE_JOB}


def test_a_job_that_is_killed_ends_as_one_that_was_not(cli: Cli, tmp_path: Path) -> None:
    shutil.copy(SCRIPT, cli.project)
    sift = ("resumable.py", "--keep", "0.5", "--checkpoint")

    whole = cli(*sift, str(tmp_path / "whole"))
    killed = cli(*sift, str(tmp_path / "kept"), "--", "--die-in", "3")
    ended = cli(*sift, str(tmp_path / "kept"))

    assert whole.returncode == 0, whole.stderr
    assert killed.returncode != 0
    assert ended.returncode == 0, ended.stderr
    assert result(ended.stdout) == result(whole.stdout)
    assert "sift: resumed from last.pt" in ended.stdout
    assert "tier memory" in ended.stdout
