"""Unmodified training scripts, run as sifted jobs by the command a user types."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

LOOPS = Path(__file__).parent / "loops"

READ = "the losses of the script's own training steps, checked against a replay of them"
REPLAYED = "the script's own loss, replayed on other batches, agrees with it; its data is iterable"
EVEN = "every sample equally often"


@dataclass(frozen=True)
class Sifted:
    """What a loop's own count must be: samples and batches an epoch, and the length it was told.

    `tier` and `reason`: where the scores come from, and why.
    `not_used`: batches that the loop took, only to break out before it used them.
    """

    samples: list[int]
    batches: list[int]
    length: int | None
    arguments: tuple[str, ...] = ()
    accuracy: float = 0.0
    not_used: int = 0
    tier: str = "memory"
    reason: str = READ


SIFTED = {
    "plain": Sifted([1000] * 3, [20] * 3, 20, accuracy=0.95),
    "dict_model_loss": Sifted([800] * 3, [25] * 3, 25, accuracy=0.6),
    "module_class": Sifted([1000] * 3, [25] * 3, 25, accuracy=0.85),
    "two_loaders": Sifted([1000] * 3, [20] * 3, 20),
    "accumulation": Sifted([960] * 4, [40] * 4, 40),
    "amp": Sifted([1000] * 3, [25] * 3, 25, accuracy=0.85),
    # Without a length there is no plan: the untouched steps come on top of the share.
    "iterable": Sifted(
        [1300, 1000, 1000],
        [26, 20, 20],
        None,
        accuracy=0.9,
        tier="forward",
        reason=REPLAYED,
    ),
    "contrastive": Sifted(
        [768] * 3,
        [12] * 3,
        12,
        tier="batch",
        reason=f"{EVEN}: a sample's loss depends on the other samples of its batch",
    ),
    "mixup": Sifted(
        [1000] * 3,
        [20] * 3,
        20,
        tier="batch",
        reason=f"{EVEN}: the step run again on the next batch gives another loss than the script's",
    ),
    "workers": Sifted([750] * 3, [25] * 3, 25, ("--workers", "2")),
    "workers, none": Sifted([750] * 3, [25] * 3, 25, ("--workers", "0")),
    "workers, persistent": Sifted([750] * 3, [25] * 3, 25, ("--workers", "2", "--persistent")),
    "early_break": Sifted([600] * 6, [12] * 6, 35, accuracy=0.8, not_used=6),
    "batchnorm_dropout": Sifted([750] * 3, [24] * 3, 24, accuracy=0.95),
    "regression": Sifted([1000] * 4, [25] * 4, 25),
    "bce": Sifted([1000] * 4, [16] * 4, 16, accuracy=0.8),
    "token_lm": Sifted([500] * 3, [25] * 3, 25),
    "weighted_sum": Sifted([1000] * 3, [20] * 3, 20),
    "functional_from_import": Sifted([900] * 4, [25] * 4, 25),
    "new_loader_each_epoch": Sifted([900] * 5, [20] * 5, 20, accuracy=0.85),
    "resumable": Sifted([1000] * 4, [20] * 4, 20, accuracy=0.9),
    "main_function": Sifted([1000] * 3, [20] * 3, 20, ("--epochs", "3", "--lr", "0.003")),
}


@pytest.mark.parametrize("name", SIFTED)
def test_a_loop_that_knows_nothing_of_us_is_sifted(name: str, tmp_path: Path) -> None:
    expected = SIFTED[name]

    result, receipt, log = run(name.partition(",")[0], tmp_path, *expected.arguments)

    assert (receipt["tier"], receipt["reason"]) == (expected.tier, expected.reason)
    assert result["train_samples"] == expected.samples
    assert result["train_batches"] == expected.batches
    assert set(result["loader_len"]) == {expected.length}
    assert result["metric"] >= expected.accuracy
    assert receipt["batches"]["given"] == sum(expected.batches) + expected.not_used
    if not expected.not_used:
        given = receipt["samples"]["kept"] - receipt["samples"]["left_over"]
        assert given == sum(expected.samples)
    assert receipt["unsifted"]["measured_steps"] >= 1
    assert log.count(f"sift: tier {expected.tier}: {expected.reason}") == 1


PASSED = {
    "gan": (
        "2 optimizers step in turn (Adam, Adam): each of their losses asks for other samples",
        [2000] * 3,
    ),
}


@pytest.mark.parametrize("name", PASSED)
def test_a_loop_that_cannot_be_verified_gets_all_its_data_and_one_line_why(
    name: str, tmp_path: Path
) -> None:
    reason, samples = PASSED[name]

    result, receipt, log = run(name, tmp_path)

    assert (receipt["tier"], receipt["reason"]) == ("pass-through", reason)
    assert result["train_samples"] == samples
    assert receipt["samples"]["dropped"] == 0
    assert log.count(f"sift: tier pass-through: {reason}") == 1


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("plain", [500, 500, 500]),
        ("two_loaders", [500, 500, 500, 500]),
        ("new_loader_each_epoch", [300] * 5),
        ("no_training", [1000, 1000]),
    ],
)
def test_evaluation_loaders_are_never_touched(name: str, passes: list[int], tmp_path: Path) -> None:
    result, receipt, _ = run(name, tmp_path)

    assert result["eval_samples"] == passes
    assert [x["role"] for x in receipt["loaders"]].count("untouched") >= 1


def test_ranks_get_equally_many_batches_and_stay_in_step(tmp_path: Path) -> None:
    result, receipt, _ = run("ddp", tmp_path, ranks=2)

    assert result["same_weights"] is True
    assert result["train_batches_of_ranks"] == [[20, 20, 20], [20, 20, 20]]
    assert result["train_samples_of_ranks"] == [[500, 500, 500], [500, 500, 500]]
    assert (receipt["tier"], receipt["world_size"]) == ("memory", 2)
    assert (tmp_path / "sift-output/job/output/receipt-1.json").exists()


def test_a_job_with_everything_kept_ends_with_the_very_result_of_a_plain_run(
    tmp_path: Path,
) -> None:
    """BatchNorm, dropout and a random transform would show any trace of discovery."""
    for name in ("batchnorm_dropout", "workers"):
        plain = subprocess.run(
            [sys.executable, str(LOOPS / f"{name}.py")], capture_output=True, text=True, check=True
        )
        kept, receipt, _ = run(name, tmp_path / name, keep=1.0)
        assert receipt["tier"] == "memory"
        assert kept == result_of(plain.stdout)


def run(
    loop: str, folder: Path, *arguments: str, keep: float = 0.5, ranks: int = 1
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """A loop as a job in `folder`: its own result, the job's receipt, the job's log."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "sift_launcher", "--name", "job", "--keep", str(keep)]
    if ranks > 1:
        command += ["-p", "sagemaker_torch_distributed_enabled=true"]
        command += ["-p", f"sagemaker_mpi_num_of_processes_per_host={ranks}"]
    finished = subprocess.run(
        [*command, str(LOOPS / f"{loop}.py"), "--", *arguments],
        cwd=folder,
        env=os.environ | {"SIFT_LAUNCHER_HOME": str(folder / "state"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    log = finished.stdout + finished.stderr
    assert finished.returncode == 0, log
    receipt = json.loads((folder / "sift-output/job/output/receipt.json").read_text())
    return result_of(finished.stdout), receipt, log


def result_of(output: str) -> dict[str, Any]:
    (line,) = re.findall(r"^RESULT (.*)$", output, re.MULTILINE)
    return json.loads(line)
