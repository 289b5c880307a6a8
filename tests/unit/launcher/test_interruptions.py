"""When the instances of a spot job are taken back."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from sift_launcher.errors import ValidationError
from sift_launcher.local.interruptions import Interruptions, moment, told


def interruptions(*texts: str, wishes: list[str] | None = None) -> Interruptions:
    left = [] if wishes is None else wishes
    return Interruptions([moment(text) for text in texts], lambda: bool(left), left.clear)


@pytest.mark.parametrize("text", ["", "30", "30 s", "s", "-1s", "0%", "101%", "50%s", "half"])
def test_what_is_no_moment_is_refused_with_the_forms_that_are(text):
    with pytest.raises(ValidationError, match=r"is no moment .*: write 30s .* or 50% "):
        moment(text)


def test_seconds_are_seconds_of_training_and_come_once():
    spot = interruptions("10s", "20.5s")
    assert (spot.is_due(9.9), spot.next_look(9.9)) == (False, pytest.approx(0.1))
    assert spot.is_due(10.0)
    assert (spot.is_due(10.0), spot.next_look(10.0)) == (False, 10.5)
    assert spot.is_due(21.0)
    assert (spot.is_due(99.0), spot.next_look(99.0)) == (False, math.inf)


def test_a_share_is_what_the_log_of_this_attempt_says(tmp_path: Path):
    spot = interruptions("50%", "75%")
    log = tmp_path / "log"
    spot.read(log)
    assert not spot.is_due(0.0)
    assert 0 < spot.next_look(0.0) <= 0.5
    log.write_text("epoch 2/4\n")
    assert spot.is_due(0.0)
    assert not spot.is_due(0.0)
    spot.read(log)
    with log.open("a") as file:
        file.write("epoch 3/4\n")
    assert spot.is_due(0.0)
    assert spot.pending == ()


def test_moments_that_are_past_follow_each_other():
    spot = interruptions("1s", "2s")
    assert [spot.is_due(5.0) for _ in range(3)] == [True, True, False]


def test_a_wish_is_fulfilled_at_once_and_once():
    wishes = ["interrupt"]
    spot = interruptions("50s", wishes=wishes)
    assert [spot.is_due(0.0), spot.is_due(0.0)] == [True, False]
    assert wishes == []


def test_what_never_came_is_told_with_what_would_have_shown_it():
    assert told([moment("300s")]) == "sift: never interrupted at 300s: the job ended before"
    assert told([moment("30s"), moment("50%")]) == (
        "sift: never interrupted at 30s, 50%: the log tells how far training is by lines such as "
        "epoch 3/5, step 300/1000 or 30%|"
    )
