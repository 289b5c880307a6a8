"""A pilot as data, as a table and as a picture."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET

import pytest

from sift_launcher.errors import OutputError
from sift_launcher.pilot.arms import PLAIN, Arm, Trial
from sift_launcher.pilot.metric import asked_for, usual
from sift_launcher.pilot.picture import HEIGHT, WIDTH, draw_svg
from sift_launcher.pilot.recommend import Recommendation, recommend
from sift_launcher.pilot.report import Report
from sift_launcher.pilot.results import (
    Measurement,
    Yardstick,
    is_control_already,
    measured,
)
from smart_sifting.receipt import Receipt, Samples, Seconds

SIFTED = Arm("sifted", 0.5)
EVEN = Arm("even", 0.5)


def run(samples: int, seconds: float, metric: float, tier: str = "memory") -> Measurement:
    return Measurement("job", samples, seconds, seconds + 2, metric, "a line", tier, "verified")


@pytest.fixture
def report():
    def make(measurements: dict[Trial, Measurement], **more: object) -> Report:
        metric = more.pop("metric", asked_for("top accuracy: (.*)", lower_is_better=False))
        return Report("digits", "train.py", ("-e", "3"), metric, Yardstick(), measurements, **more)

    return make


RUNS = {
    Trial(PLAIN): run(1000, 10.0, 0.91),
    Trial(SIFTED): run(500, 5.0, 0.905),
    Trial(EVEN): run(500, 4.9, 0.915, tier="batch"),
}


def texts(svg: str) -> list[str]:
    return [each.text for each in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_table_sets_every_arm_against_plain(report):
    assert report(RUNS).rows() == (
        ["arm", "tier", "samples:", "seconds:", "top accuracy:", "against plain:", "time:"],
        [
            ["plain", "", "1000", "10.00", "0.9100", "", ""],
            ["keep 0.5", "memory", "500", "5.00", "0.9050", "-0.0050", "-50%"],
            ["even 0.5", "batch", "500", "4.90", "0.9150", "+0.0050", "-51%"],
        ],
    )


def test_repeated_runs_are_a_mean_and_its_standard_error(report):
    runs = {
        Trial(PLAIN): run(1000, 10.0, 89.0),
        Trial(SIFTED): run(500, 5.0, 90.0),
        Trial(PLAIN, 1): run(1000, 12.0, 91.0),
        Trial(SIFTED, 1): run(500, 6.0, 90.0),
    }
    _, rows = report(runs).rows()
    assert rows == [
        ["plain", "", "1000", "11.00", "90.00 ± 1.0000", "", ""],
        ["keep 0.5", "memory", "500", "5.50", "90.00 ± 0.0000", "+0.0000", "-50%"],
    ]


def test_plain_training_is_not_charged_for_being_watched():
    receipt = Receipt(
        tier="forward",
        samples=Samples(seen=100, kept=60, left_over=10),
        seconds=Seconds(total=99, scoring=1, training=2, data=4, discovery=8),
    )
    found = usual("accuracy 0.5").last("accuracy 0.5")
    assert measured(Trial(PLAIN), "job", 9.5, receipt, found) == Measurement(
        "job", 50, 6, 9.5, 0.5, "accuracy 0.5", "forward", ""
    )
    assert measured(Trial(SIFTED), "job", 9.5, receipt, found).seconds == 15


def test_a_control_is_not_run_beside_a_share_that_is_one_itself():
    runs = {Trial(PLAIN): run(1000, 10.0, 0.9), Trial(SIFTED): run(500, 5.0, 0.9, tier="batch")}
    assert is_control_already(Trial(EVEN), runs)
    assert not is_control_already(Trial(EVEN, repeat=1), runs)
    assert not is_control_already(Trial(Arm("even", 0.7)), runs)
    assert not is_control_already(Trial(EVEN), {Trial(SIFTED): run(500, 5.0, 0.9)})
    assert not is_control_already(Trial(SIFTED), runs)


def test_the_files_hold_everything(report, tmp_path):
    advice = Recommendation(SIFTED, "Do it.", ("a note",))
    done = report(RUNS, recommendation=advice, command="sift-launch --keep 0.5 train.py")
    done.write(tmp_path / "out" / "digits")
    told = json.loads((tmp_path / "out" / "digits" / "pilot.json").read_text())
    assert (told["schema"], told["name"], told["script"]) == (1, "digits", "train.py")
    assert told["metric"] == {
        "name": "top accuracy",
        "regex": "top accuracy: (.*)",
        "lower_is_better": False,
        "tolerance": 0.002,
    }
    assert told["arms"][1] == {
        "arm": "keep 0.5",
        "kind": "sifted",
        "keep": 0.5,
        "samples": 500,
        "seconds": 5.0,
        "metric": 0.905,
        "standard_error": None,
        "runs": [
            {
                "job": "job",
                "samples": 500,
                "seconds": 5.0,
                "job_seconds": 7.0,
                "metric": 0.905,
                "line": "a line",
                "tier": "memory",
                "reason": "verified",
            }
        ],
    }
    assert told["recommendation"] == {
        "arm": "keep 0.5",
        "kind": "sifted",
        "keep": 0.5,
        "text": "Do it.",
        "notes": ["a note"],
        "command": "sift-launch --keep 0.5 train.py",
    }
    assert texts((tmp_path / "out" / "digits" / "pilot.svg").read_text())[0] == (
        "digits: train on 50 % of the samples"
    )


def test_an_unfinished_pilot_recommends_nothing(report):
    begun = report({Trial(PLAIN): run(1000, 10.0, 0.91)})
    assert begun.to_dict()["recommendation"] is None
    assert texts(begun.to_svg())[0] == "digits: not finished"


def test_a_figure_that_is_not_finite_is_null(report):
    told = json.loads(report({Trial(PLAIN): run(1000, 10.0, math.nan)}).to_json())
    assert told["arms"][0]["metric"] is None


def test_a_folder_that_cannot_be_written_is_named(report, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=f"to {tmp_path}/file/digits .*the same --name writes"):
        report(RUNS).write(tmp_path / "file" / "digits")


def test_the_picture_shows_every_arm_and_rings_the_recommended_one(result):
    arms = [
        result("plain", 1, 10.0, 0.9, 0.902),
        result("sifted", 0.5, 5.0, 0.901, 0.901),
        result("even", 0.5, 4.9, 0.88, 0.89),
    ]
    advice = recommend(arms, Yardstick())
    svg = draw_svg(arms, Yardstick(), "accuracy <test>", advice.arm, "a & b")
    shown = texts(svg)
    for text in ("a & b", "accuracy <test> (higher is better)", "plain", "keep 0.5", "even 0.5"):
        assert text in shown
    root = ET.fromstring(svg)
    rings = [each for each in root.iter() if each.get("r") == "10"]
    dots = [each for each in root.iter() if each.get("r") == "5"]
    assert len(rings) == 1
    # Its ring is around its own mark; the first dot is the legend's.
    assert (rings[0].get("cx"), rings[0].get("cy")) == (dots[1].get("cx"), dots[1].get("cy"))


@pytest.mark.parametrize(
    "metrics", [(0.0, 0.0), (1e9, 1e9 + 1), (-5.0, -5.0), (1e-9, 2e-9), (math.nan, math.nan)]
)
def test_whatever_the_figures_the_picture_stays_on_its_paper(result, metrics):
    arms = [result("plain", 1, 10.0, metrics[0]), result("sifted", 0.5, 5.0, metrics[1])]
    svg = draw_svg(arms, Yardstick(lower_is_better=True), "loss", None, "title")
    for each in ET.fromstring(svg).iter():
        for key in ("x", "cx", "x1", "x2"):
            assert 0 <= float(each.get(key, 0)) <= WIDTH
        for key in ("y", "cy", "y1", "y2"):
            assert 0 <= float(each.get(key, 0)) <= HEIGHT
