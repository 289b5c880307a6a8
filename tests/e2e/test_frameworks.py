"""Training loops of the ecosystem, unmodified, run as sifted jobs with the real libraries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from test_loops import run

FRAMEWORKS = "../frameworks/"
SHARDED = "the model's parameters are spread over the ranks"
# What may be found on a machine that takes more than ten seconds for the training.
OF_THE_CLOCK = re.compile("a faster loader saves more than|nothing is scored any more, the same")
REASONS = {
    "memory": "the losses of the script's own training steps, checked against a replay of them",
    "forward": "the script's own loss, replayed on other batches, agrees with it",
    "batch": "every sample equally often",
}


@dataclass(frozen=True)
class Expected:
    """What a user counts on.

    Attributes:
        script: in `frameworks`, or beside it in `loops`.
        tier: the best that this script can have.
        why: what else its reason says.
        samples, batches: what the script counted itself, of each epoch and rank.
        evaluated: samples of each pass over the evaluation data.
        result: what else the script says of its steps and its schedule.
        accuracy: is reached by a model that has learned.
    """

    script: str
    tier: str
    samples: list[int]
    batches: list[int]
    evaluated: list[int]
    result: dict[str, Any]
    accuracy: float
    arguments: tuple[str, ...] = ()
    ranks: int = 1
    why: str = ""


LOOPS = {
    # 60 batches of 16, four to an update; the last evaluation is the script's own.
    "Trainer, classifier": Expected(
        "hf_trainer",
        "memory",
        [960] * 3,
        [60] * 3,
        [200] * 4,
        {"global_step": 45, "max_steps": 45, "epochs": 3, "last_lr": 0.0},
        0.9,
    ),
    "Trainer, language model": Expected(
        "hf_trainer",
        "memory",
        [960] * 3,
        [60] * 3,
        [200] * 4,
        {"global_step": 45, "max_steps": 45, "epochs": 3, "last_lr": 0.0},
        0.9,
        ("--model", "gpt"),
    ),
    "Accelerate": Expected(
        "accelerate_loop",
        "memory",
        [800] * 3,
        [40] * 3,
        [300] * 3,
        {"steps": 60, "planned_steps": 60, "last_lr": 0.0},
        0.75,
    ),
    "Accelerate, batches of any length": Expected(
        "accelerate_loop",
        "memory",
        [800] * 3,
        [40] * 3,
        [300] * 3,
        {"steps": 60, "planned_steps": 60, "last_lr": 0.0},
        0.75,
        ("--ragged",),
    ),
    # Two batches of 40 for Lightning's sanity check before the training.
    "Lightning": Expected(
        "lightning_module",
        "memory",
        [600] * 3,
        [30] * 3,
        [80, 240, 240, 240],
        {"global_step": 90, "planned_steps": 90, "progress_bar_batches": 30, "last_lr": 6.2554e-5},
        0.9,
    ),
    "Lightning, two ranks": Expected(
        "lightning_module",
        "memory",
        [300] * 3,
        [15] * 3,
        [80, 120, 120, 120],
        {
            "global_step": 45,
            "planned_steps": 45,
            "progress_bar_batches": 15,
            "last_lr": 2.4886e-4,
            "seen_by_two_ranks": 0,
            "same_weights": True,
        },
        0.9,
        ranks=2,
    ),
    "DistributedDataParallel, four ranks": Expected(
        "../loops/ddp",
        "memory",
        [250] * 3,
        [10] * 3,
        [400] * 3,
        {"same_weights": True, "last_lr": 5.5886e-4},
        0.6,
        ranks=4,
    ),
    "fully_shard, two ranks": Expected(
        "fsdp",
        "batch",
        [200] * 3,
        [10] * 3,
        [200] * 3,
        {"last_lr": 1e-4, "loader_len": [10] * 4},
        0.9,
        ranks=2,
        why=SHARDED,
    ),
    "compiled model": Expected(
        "model_kinds",
        "memory",
        [500] * 3,
        [20] * 3,
        [200] * 3,
        {"last_lr": 0.0, "loader_len": [20] * 4},
        0.85,
        ("--kind", "compiled"),
    ),
    # What is compiled shows nothing of the losses inside it.
    "compiled training step": Expected(
        "model_kinds",
        "batch",
        [500] * 3,
        [20] * 3,
        [200] * 3,
        {"last_lr": 0.0, "loader_len": [20] * 4},
        0.85,
        ("--kind", "compiled_step"),
        why="the loss is not a mean or a sum of per-sample losses",
    ),
    "activation checkpointing": Expected(
        "model_kinds",
        "memory",
        [500] * 3,
        [20] * 3,
        [200] * 3,
        {"last_lr": 0.0, "loader_len": [20] * 4},
        0.85,
        ("--kind", "checkpointed"),
    ),
    "scripted model": Expected(
        "model_kinds",
        "memory",
        [500] * 3,
        [20] * 3,
        [200] * 3,
        {"last_lr": 0.0, "loader_len": [20] * 4},
        0.85,
        ("--kind", "scripted"),
    ),
    # In mid-epoch its state is saved, and another loader goes on from it.
    "StatefulDataLoader": Expected(
        "stateful_loader",
        "memory",
        [500] * 3,
        [20] * 3,
        [200] * 3,
        {"last_lr": 1.4021e-4, "loader_len": [20] * 4},
        0.85,
        ("--workers", "1", "--stop-at", "10"),
    ),
    # Without a length there is no plan: the untouched steps come on top of the share.
    "WebDataset": Expected(
        "tar_shards",
        "forward",
        [750, 600, 600],
        [30, 24, 24],
        [300] * 3,
        {"loader_len": [None] * 4},
        0.9,
        why="its data is iterable",
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_framework_s_loop_is_sifted_as_it_is(name: str, tmp_path: Path) -> None:
    expected = LOOPS[name]

    result, receipt, log = run(
        FRAMEWORKS + expected.script, tmp_path, *expected.arguments, ranks=expected.ranks
    )

    assert receipt["tier"] == expected.tier
    assert receipt["reason"].startswith(REASONS[expected.tier])
    assert expected.why in receipt["reason"]
    assert [note for note in receipt["notes"] if not OF_THE_CLOCK.search(note)] == []
    assert log.count(f"sift: tier {expected.tier}: ") == 1

    assert result["train_samples"] == expected.samples
    assert result["train_batches"] == expected.batches
    for counted in ("train_samples_of_ranks", "train_batches_of_ranks"):
        if counted in result:
            assert result[counted] == [result[counted.removesuffix("_of_ranks")]] * expected.ranks
    assert receipt["samples"]["kept"] - receipt["samples"]["left_over"] == sum(expected.samples)
    assert receipt["batches"]["given"] == sum(expected.batches)
    assert receipt["world_size"] == expected.ranks

    assert result["eval_samples"] == expected.evaluated
    assert {x["role"] for x in receipt["loaders"]} == {"training", "untouched"}
    for what, number in expected.result.items():
        exact = not isinstance(number, float)
        assert result[what] == (number if exact else pytest.approx(number, rel=1e-3)), what
    assert result["metric"] >= expected.accuracy


def test_a_trainer_that_aws_s_enable_sifting_was_called_on_runs_unchanged(tmp_path: Path) -> None:
    result, receipt, _ = run(FRAMEWORKS + "aws_trainer", tmp_path)

    assert (receipt["tier"], receipt["keep"]) == ("forward", 0.25)
    assert receipt["reason"] == "the script uses SiftingDataloader itself"
    # A delay of 10 batches of 20, then a quarter of the other 800; then a quarter of all 1000.
    assert result["train_samples"] == 200 + 200 + 250
    assert receipt["samples"]["seen"] == 2000
    # The Trainer plans for two epochs as long as the first; they are 20 and 13 batches.
    assert (result["global_step"], result["max_steps"]) == (33, 40)
    assert result["metric"] >= 0.9


def test_lightning_with_aws_s_loader_and_recorder_runs_unchanged(tmp_path: Path) -> None:
    result, receipt, log = run(FRAMEWORKS + "aws_lightning", tmp_path)

    assert (receipt["tier"], receipt["keep"]) == ("forward", 0.5)
    assert receipt["reason"] == "the script uses SiftingDataloader itself"
    # A delay of 5 batches of 20, then half of the other 900; then half of 1000, twice.
    assert result["train_samples"] == 100 + 450 + 500 + 500
    assert result["global_step"] == 28 + 25 + 25
    assert result["planned_steps"] == 3 * 28
    assert result["recorded"] == [78, 3000, 1550]
    assert "num_orig_samples_seen: 3000, num_orig_samples_kept: 1550, " in log
    assert result["metric"] >= 0.9
