from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sift_launcher.errors import ImageMissing
from sift_launcher.local.stand_in import StandIn
from sift_launcher.rehearsal import stage as module
from sift_launcher.rehearsal.stage import Stage

ENVIRONMENT = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
OWN = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8"


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[StandIn]:
    """What plays the jobs; an engine that has `ours` and sift-training:cpu alone."""
    tried: list[StandIn] = []

    class Service:
        def __init__(self, home: Path, stand_in: StandIn) -> None:
            self.stand_in = stand_in

        def create_training_job(self, **request: Any) -> None:
            tried.append(self.stand_in)
            image = self.stand_in.image or request["AlgorithmSpecification"]["TrainingImage"]
            if image not in ("ours", "sift-training:cpu"):
                raise ImageMissing(f"image {image} is not here")

    monkeypatch.setattr(module, "LocalTrainingService", Service)
    return tried


def request(image: str, instance: str = "ml.m5.large") -> dict[str, Any]:
    return {
        "TrainingJobName": "a",
        "AlgorithmSpecification": {"TrainingImage": image},
        "ResourceConfig": {"InstanceType": instance},
    }


def test_a_job_is_played_as_it_was_staged_and_the_next_as_usual(played):
    stage = Stage(Path("home"), "local", ENVIRONMENT)
    how = {"runs": "process", "python": "/python", "at": ["50%", "30s"], "notice_seconds": 2}
    stage.prepare("a", how)
    stage.run(request("ours"))
    stage.run(request("ours"))
    first, second = played
    assert (first.runs, first.python) == ("process", "/python")
    assert (first.interruptions, first.notice_seconds) == (("50%", "30s"), 2)
    assert first.endpoint == "http://127.0.0.1:9"
    assert first.environment == ENVIRONMENT
    assert (second.runs, second.interruptions, second.notice_seconds) == ("local", (), 120)


def test_awss_own_image_is_played_by_ours_where_the_engine_does_not_have_it(played):
    Stage(Path("home"), "local", ENVIRONMENT).run(request(OWN, "ml.g5.xlarge"))
    assert [each.image for each in played] == [None, "sift-training:gpu", "sift-training:cpu"]


def test_an_image_that_the_engine_has_plays_itself(played):
    Stage(Path("home"), "local", ENVIRONMENT).run(request("ours", "ml.g5.xlarge"))
    assert [each.image for each in played] == [None]


def test_nobody_elses_image_is_played_by_ours(played):
    with pytest.raises(ImageMissing, match="image theirs is not here"):
        Stage(Path("home"), "local", ENVIRONMENT).run(request("theirs"))
    assert len(played) == 1
