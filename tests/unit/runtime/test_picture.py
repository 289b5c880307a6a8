"""The picture of a receipt: well-formed, titled, and with its curves where they belong."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

from smart_sifting.picture import draw_svg
from smart_sifting.receipt import HistoryPoint, Receipt, Samples

SVG = "{http://www.w3.org/2000/svg}"

RECEIPT = Receipt(
    tier="forward",
    reason="replayed & equal <to> the script's",
    keep=0.5,
    samples=Samples(seen=1437, kept=719, dropped=718),
    steps=120,
    history=[
        HistoryPoint(step=0, seconds=0.0, kept_share=1.0, loss=2.0),
        HistoryPoint(step=50, seconds=1.0, kept_share=0.5, loss=1.0),
        HistoryPoint(step=100, seconds=2.0, kept_share=0.5, loss=0.0),
    ],
)


def parsed(receipt: Receipt) -> ElementTree.Element:
    return ElementTree.fromstring(draw_svg(receipt))


def texts(receipt: Receipt) -> list[str]:
    return [each.text or "" for each in parsed(receipt).iter(f"{SVG}text")]


def curves(receipt: Receipt) -> list[str]:
    return [each.attrib["points"] for each in parsed(receipt).iter(f"{SVG}polyline")]


def test_the_picture_says_what_it_shows() -> None:
    found = texts(RECEIPT)
    assert found[0] == "Kept 719 of 1437 samples (50.0 %) in 120 steps"
    assert found[1] == "forward: replayed & equal <to> the script's"
    assert {
        "share kept so far (%)",
        "mean scored loss",
        "training step",
        "asked for 50 %",
    } <= set(found)
    assert [each for each in found if each in {"0", "20", "40", "60", "80", "100"}] == [
        *["0", "20", "40", "60", "80", "100"],
        "0",
        *["0", "20", "40", "60", "80", "100"],
    ]


def test_the_curves_go_through_their_points() -> None:
    # Steps 0 to 100 span 76 to 724 across; 0 to 100 % spans 256 up to 92; loss 0 to 2, 468 to 304.
    assert curves(RECEIPT) == [
        "76.0,92.0 400.0,174.0 724.0,174.0",
        "76.0,304.0 400.0,386.0 724.0,468.0",
    ]


def test_a_loss_that_is_not_finite_leaves_a_gap() -> None:
    history = [*RECEIPT.history, HistoryPoint(150, 3.0, 0.5, math.inf)]
    history += [HistoryPoint(200, 4.0, 0.5, 1.0)]
    picture = draw_svg(replace(RECEIPT, history=history))
    assert "nan" not in picture
    assert "inf" not in picture
    assert picture.count("<polyline") == 2
    assert picture.count("<circle") == 1


def test_a_receipt_without_history_is_a_picture_that_says_so() -> None:
    found = texts(Receipt(tier="waiting", reason="no DataLoader was iterated"))
    assert found[0] == "No training was seen"
    assert found[1] == "waiting: no DataLoader was iterated"
    assert found.count("nothing was recorded") == 2


def test_one_point_negative_and_very_large_losses_are_drawn() -> None:
    for loss in (0.0, -0.0003, 1e-300, 1e300, 12345.678):
        one = replace(RECEIPT, steps=1, history=[HistoryPoint(1, 0.1, 1.0, loss)])
        picture = draw_svg(one)
        assert picture.count("<circle") == 2
        assert "nan" not in picture
        assert "in 1 step<" in picture


def test_nothing_asked_for_is_marked_when_all_is_kept() -> None:
    assert not [each for each in texts(replace(RECEIPT, keep=1.0)) if each.startswith("asked")]
