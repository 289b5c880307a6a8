"""How far a job is, from its log."""

from __future__ import annotations

from pathlib import Path

import pytest

from sift_launcher.local.progress import Progress


@pytest.mark.parametrize(
    ("log", "share"),
    [
        ("epoch 3/5 4.2 s accuracy 0.9", 0.6),
        ("Epoch [1/4], loss 0.3", 0.25),
        ("Epoch: 2 / 4\n", 0.5),
        ("epoch 3 of 4", 0.75),
        ("step 300/1000 loss 1.2", 0.3),
        ("Iteration [5/10]", 0.5),
        (" 30%|███       | 300/1000 [00:03<00:07]", 0.3),
        ("epoch 1/4\nepoch 2/4\nepoch 3/4", 0.75),
        ("epoch 2/4\nstep 999/1000\n 99%|█", 0.5),
        ("step 1/10\r 99%|█", 0.1),
        ("Epoch 0:  99%|███", None),
        ("Epoch 1/4:  99%|███", 0.25),
        ("loss 1/2", None),
        ("epoch 9/4", None),
        ("epoch 0/0", None),
        ("", None),
    ],
)
def test_what_scripts_print_tells_how_far_they_are(tmp_path: Path, log: str, share: float | None):
    progress = Progress(tmp_path / "log")
    (tmp_path / "log").write_text(log)
    assert progress.share() == share


def test_words_that_come_in_two_pieces_are_read_as_one(tmp_path: Path):
    with (tmp_path / "log").open("a") as log:
        progress = Progress(tmp_path / "log")
        seen = []
        for piece in ("ep", "och 1", "/4 and mo", "re\nepoch 3/", "4"):
            log.write(piece)
            log.flush()
            seen.append(progress.share())
    assert seen == [None, None, 0.25, 0.25, 0.75]


def test_only_what_comes_from_now_on_counts(tmp_path: Path):
    assert Progress(tmp_path / "log").share() is None
    (tmp_path / "log").write_text("epoch 3/4\n")
    progress = Progress(tmp_path / "log")
    assert progress.share() is None
    with (tmp_path / "log").open("a") as log:
        log.write("epoch 1/4\n")
    assert progress.share() == 0.25
