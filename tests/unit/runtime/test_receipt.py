"""The receipt: its file, its arithmetic, the merge over ranks, and the line in the log."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smart_sifting.errors import ReceiptException
from smart_sifting.receipt import (
    Batches,
    ClassCount,
    HistoryPoint,
    Loader,
    Receipt,
    Resumed,
    Samples,
    Saved,
    Seconds,
    Unsifted,
    file_name,
    merge,
    read,
    read_all,
    restarts,
    saved,
    summary_line,
)


def digits_receipt() -> Receipt:
    return Receipt(
        tier="forward",
        reason="the replayed loss equals the script's",
        keep=0.5,
        final=True,
        samples=Samples(seen=1437, kept=719, dropped=718),
        batches=Batches(seen=45, given=23),
        steps=120,
        epochs=3,
        seconds=Seconds(total=11.0, scoring=1.5, training=7.0, data=1.0, discovery=0.5),
        unsifted=Unsifted(step_seconds=0.25, data_seconds=0.01, measured_steps=8, seconds=12.5),
        saved=Saved(seconds=2.5, share=0.2),
        classes=[ClassCount(label=0, seen=140, kept=50)],
        history=[HistoryPoint(step=10, seconds=1.25, kept_share=0.5, loss=1.75)],
        loaders=[Loader("DataLoader#1", "training", "its batches precede backward")],
        notes=["a note"],
        versions={"torch": "2.13.0"},
        resumed=[Resumed(step=80, lost_steps=12, lost_seconds=1.5)],
    )


DIGITS = {
    "schema": 1,
    "tier": "forward",
    "reason": "the replayed loss equals the script's",
    "keep": 0.5,
    "acceptance": "quota",
    "final": True,
    "rank": 0,
    "world_size": 1,
    "samples": {
        "seen": 1437,
        "kept": 719,
        "dropped": 718,
        "left_over": 0,
        "non_finite": 0,
        "loaded": 0,
    },
    "batches": {"seen": 45, "given": 23},
    "steps": 120,
    "epochs": 3,
    "seconds": {"total": 11.0, "scoring": 1.5, "training": 7.0, "data": 1.0, "discovery": 0.5},
    "unsifted": {
        "step_seconds": 0.25,
        "data_seconds": 0.01,
        "measured_steps": 8,
        "seconds": 12.5,
    },
    "saved": {"seconds": 2.5, "share": 0.2, "dollars": None},
    "classes": [{"label": 0, "seen": 140, "kept": 50}],
    "history": [{"step": 10, "seconds": 1.25, "kept_share": 0.5, "loss": 1.75}],
    "loaders": [
        {"name": "DataLoader#1", "role": "training", "reason": "its batches precede backward"}
    ],
    "notes": ["a note"],
    "versions": {"torch": "2.13.0"},
    "resumed": [{"step": 80, "lost_steps": 12, "lost_seconds": 1.5}],
}


def test_the_file_has_the_agreed_fields(tmp_path: Path) -> None:
    path = tmp_path / "data" / file_name(0)
    digits_receipt().write(path)
    assert json.loads(path.read_text()) == DIGITS
    assert read(path) == digits_receipt()


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    Receipt().write(path)
    before = path.stat().st_ino
    digits_receipt().write(path)
    assert path.stat().st_ino != before  # a rename, so that no reader sees half a file
    assert [each.name for each in tmp_path.iterdir()] == ["receipt.json"]


def test_a_failed_write_raises_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "receipt.json").mkdir()
    (tmp_path / "receipt.json" / "full").touch()
    with pytest.raises(OSError, match=r"receipt\.json"):
        digits_receipt().write(tmp_path / "receipt.json")
    assert [each.name for each in tmp_path.iterdir()] == ["receipt.json"]


def test_a_loss_that_is_not_finite_is_written_as_null(tmp_path: Path) -> None:
    receipt = Receipt(history=[HistoryPoint(1, 0.5, 1.0, float("nan"))])
    receipt.write(tmp_path / "receipt.json")
    assert read(tmp_path / "receipt.json").history[0].loss is None


def changed(**values: Any) -> dict[str, Any]:
    return {**DIGITS, **values}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON; the job's log has its last line"),
        ('{"schema": 1, "tier', "not JSON; the job's log has its last line"),
        ("[]", "receipt: not a receipt; name a receipt.json that a job wrote"),
        ('{"schema": 1}', "receipt has no tier"),
        (
            json.dumps(changed(schema=2)),
            "receipt: schema 2, this release reads 1; "
            "use the release of sift-launcher that ran the job",
        ),
        (json.dumps(changed(steps="9")), "receipt.steps is '9', not what a receipt has there"),
        (json.dumps(changed(steps=True)), "receipt.steps is True, not what a receipt has there"),
        (json.dumps(changed(final=1)), "receipt.final is 1, not what a receipt has there"),
        (json.dumps(changed(samples=[])), "receipt.samples is [], not an object"),
        (json.dumps(changed(classes=[{"label": 1}])), "receipt.classes[0] has no seen"),
        (json.dumps(changed(classes={})), "receipt.classes is {}, not what a receipt has there"),
        (
            json.dumps(changed(tier="best")),
            "receipt: tier is 'best', not of memory, forward, batch, pass-through, waiting",
        ),
    ],
)
def test_a_broken_file_is_one_line_with_its_name(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(content)
    with pytest.raises(ReceiptException) as caught:
        read(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    with pytest.raises(ReceiptException) as caught:
        read(path)
    assert str(caught.value) == f"{path}: no such receipt; has the job trained yet?"


def test_keys_of_a_later_release_are_passed_over() -> None:
    assert Receipt.from_dict(changed(colour="green")) == digits_receipt()


@pytest.mark.parametrize(
    ("seconds", "unsifted", "price", "expected"),
    [
        (
            Seconds(total=99, scoring=1, training=5, data=1, discovery=1),
            Unsifted(0.1, 0.0, 8, 10.0),
            None,
            Saved(2.0, 0.2, None),
        ),
        (
            Seconds(scoring=6, training=5, data=1),
            Unsifted(0.1, 0.0, 8, 10.0),
            36.0,
            Saved(-2.0, -0.2, -0.02),
        ),
        (Seconds(training=5), Unsifted(0.0, 0.0, 0, 10.0), 1.0, Saved(0.0, 0.0, None)),
        (Seconds(training=5), Unsifted(0.0, 0.0, 8, 0.0), 1.0, Saved(0.0, 0.0, None)),
    ],
)
def test_saved_is_the_unsifted_cost_less_all_that_was_spent(
    seconds: Seconds, unsifted: Unsifted, price: float | None, expected: Saved
) -> None:
    assert saved(seconds, unsifted, price) == expected


def test_the_line_in_the_log() -> None:
    assert summary_line(digits_receipt()) == (
        "sift: receipt: kept 719 of 1437 samples (50.0 %) in 120 steps; "
        "10.0 s against 12.5 s unsifted: saved 2.5 s (20.0 %); "
        "resumed once, 12 steps (1.5 s) done again; tier forward"
    )


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"unsifted": Unsifted(0.1, 0.0, 8, 8.0), "saved": Saved(-2.0, -0.25)},
            "kept 719 of 1437 samples (50.0 %) in 120 steps; 10.0 s against 8.0 s unsifted: "
            "sifting cost 2.0 s more than it saved (25.0 %); tier forward",
        ),
        (
            {"saved": Saved(2.5, 0.2, 1.5)},
            "kept 719 of 1437 samples (50.0 %) in 120 steps; 10.0 s against 12.5 s unsifted: "
            "saved 2.5 s (20.0 %, $1.50); tier forward",
        ),
        (
            {"seconds": Seconds(training=0.0125), "unsifted": Unsifted()},
            "kept 719 of 1437 samples (50.0 %) in 120 steps; 0.013 s; "
            "the unsifted cost was not measured; tier forward",
        ),
        (
            {
                "tier": "pass-through",
                "reason": "two optimizers step in turn",
                "samples": Samples(seen=10, kept=10),
            },
            "kept 10 of 10 samples (100.0 %) in 120 steps; "
            "nothing was sifted: two optimizers step in turn; tier pass-through",
        ),
        (
            {"tier": "waiting", "reason": "the script iterated no DataLoader"},
            "no training was seen: the script iterated no DataLoader; tier waiting",
        ),
        ({"samples": Samples(), "reason": ""}, "no training was seen; tier forward"),
    ],
)
def test_the_line_is_honest(change: dict[str, Any], line: str) -> None:
    uninterrupted = replace(digits_receipt(), resumed=[])
    assert summary_line(replace(uninterrupted, **change)) == f"sift: receipt: {line}"


@pytest.mark.parametrize(
    ("resumed", "told"),
    [
        ([], ""),
        ([Resumed(20)], "resumed once"),
        ([Resumed(20, 1, 0.25)], "resumed once, 1 step (0.250 s) done again"),
        ([Resumed(20, 5, 3.0), Resumed(40, 10, 4.5)], "resumed twice, 15 steps (7.5 s) done again"),
        ([Resumed(20, 5, 3.0)] * 3, "resumed 3 times, 15 steps (9.0 s) done again"),
    ],
)
def test_restarts_are_told_with_the_work_that_was_done_again(
    resumed: list[Resumed], told: str
) -> None:
    assert restarts(replace(digits_receipt(), resumed=resumed)) == told


def test_a_receipt_from_before_jobs_could_be_resumed_is_read() -> None:
    older = {key: value for key, value in DIGITS.items() if key != "resumed"}
    assert Receipt.from_dict(older) == replace(digits_receipt(), resumed=[])


def test_ranks_add_up_and_their_times_are_means() -> None:
    one = replace(digits_receipt(), rank=0, world_size=2)
    two = replace(
        one,
        rank=1,
        samples=Samples(seen=1437, kept=718, dropped=719, left_over=1, non_finite=2),
        seconds=Seconds(total=13.0, scoring=2.5, training=7.0, data=2.0, discovery=0.5),
        unsifted=Unsifted(0.75, 0.03, 8, 13.5),
        classes=[ClassCount(0, 10, 5), ClassCount(3, 4, 2)],
        history=[HistoryPoint(10, 1.75, 0.25, None), HistoryPoint(20, 3.0, 0.5, 1.0)],
        notes=["a note", "another"],
    )
    both = merge([two, one])
    assert both.rank == 0
    assert both.samples == Samples(2874, 1437, 1437, 1, 2)
    assert both.batches == Batches(90, 46)
    assert (both.steps, both.epochs) == (120, 3)
    assert both.seconds == Seconds(12.0, 2.0, 7.0, 1.5, 0.5)
    assert both.unsifted == Unsifted(0.5, 0.02, 16, 13.0)
    assert both.saved == Saved(2.0, 2.0 / 13.0, None)
    assert both.classes == [ClassCount(0, 150, 55), ClassCount(3, 4, 2)]
    assert both.history == [HistoryPoint(10, 1.5, 0.375, 1.75), HistoryPoint(20, 3.0, 0.5, 1.0)]
    assert both.loaders == one.loaders
    assert both.notes == ["a note", "another"]
    assert both.final


def test_the_merged_tier_is_the_least_and_no_saving_is_claimed_unmeasured() -> None:
    one = replace(digits_receipt(), world_size=3)
    two = replace(one, rank=1, tier="pass-through", reason="no loss", unsifted=Unsifted())
    both = merge([one, replace(two, final=False)])
    assert (both.tier, both.reason, both.final) == ("pass-through", "no loss", False)
    assert both.saved == Saved(0.0, 0.0, None)
    assert both.notes == [
        "a note",
        "the ranks differ in their tier: rank 0 forward, rank 1 pass-through",
        "receipts of 2 of 3 ranks",
    ]


def test_merging_leaves_its_input_alone_and_one_rank_as_it_is() -> None:
    one = digits_receipt()
    assert merge([one]) == digits_receipt()
    merge([one, replace(one, rank=1)])
    assert one == digits_receipt()
    with pytest.raises(ReceiptException, match="no ranks to merge"):
        merge([])


def test_all_ranks_are_read_in_order(tmp_path: Path) -> None:
    assert read_all(tmp_path) == []
    for rank in (10, 2, 0):
        Receipt(rank=rank).write(tmp_path / file_name(rank))
    (tmp_path / "receipt-old.json").write_text("not ours")
    assert [each.rank for each in read_all(tmp_path)] == [0, 2, 10]
