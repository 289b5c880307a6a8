"""What a request's instances are on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sift_launcher.engine import EngineTraits
from sift_launcher.errors import WrongCall
from sift_launcher.local import players
from sift_launcher.local.container_settings import has_gpus
from sift_launcher.local.records import JobRecords
from sift_launcher.local.service import LocalTrainingService
from sift_launcher.local.stand_in import StandIn
from sift_launcher.local.status import created, ended

PROCESS = StandIn("process", "/usr/bin/python3")
CONTAINERS = StandIn("local", "/usr/bin/python3")


def request(instance: str, image: str = "sift:1") -> dict[str, Any]:
    return {
        "ResourceConfig": {"InstanceType": instance},
        "AlgorithmSpecification": {"TrainingImage": image},
    }


@pytest.mark.parametrize(
    ("instance", "stand_in", "in_containers"),
    [
        ("process", None, False),
        ("local", None, True),
        ("local_gpu", None, True),
        ("ml.m5.large", None, False),
        ("ml.m5.large", PROCESS, False),
        ("ml.m5.large", CONTAINERS, True),
        ("process", CONTAINERS, False),
        ("local", PROCESS, True),
    ],
)
def test_a_stand_in_plays_sagemakers_instances_alone(instance, stand_in, in_containers):
    assert players.runs_in_containers(request(instance), stand_in) is in_containers


def test_containers_have_the_stand_ins_image_or_the_requests_own():
    other = StandIn("local", "/usr/bin/python3", image="mine:1")
    assert players.image_of(request("ml.m5.large"), CONTAINERS) == "sift:1"
    assert players.image_of(request("ml.m5.large"), other) == "mine:1"
    assert players.image_of(request("local"), other) == "sift:1"


def test_a_process_has_the_stand_ins_python_or_the_requests_own():
    own = request("process", "file:///own/python")
    assert players.interpreter_of(own, PROCESS) == Path("/own/python")
    assert players.interpreter_of(request("ml.m5.large"), PROCESS) == Path("/usr/bin/python3")
    assert players.interpreter_of(request("local"), None) is None


def test_a_stand_in_is_kept_in_the_settings():
    stand_in = StandIn("process", "/python", None, "http://x", {"A": "b"}, ("50%",), 3.0)
    assert players.of_settings(players.to_settings(stand_in)) == stand_in
    assert players.of_settings(players.to_settings(None)) is None


@pytest.mark.parametrize(
    ("instance", "has_nvidia", "gets_gpus"),
    [
        ("ml.g5.xlarge", True, True),
        ("ml.g5.xlarge", False, False),
        ("ml.m5.large", True, False),
        ("local", True, False),
        ("local_gpu", True, True),
    ],
)
def test_gpus_are_asked_for_where_the_instance_and_the_engine_have_some(
    instance, has_nvidia, gets_gpus
):
    engine = EngineTraits("docker", "27", "amd64", False, False, has_nvidia, 1 << 30, 2, "/")
    assert has_gpus(instance, engine) is gets_gpus


@pytest.mark.parametrize(
    ("is_spot", "stand_in", "told"),
    [
        (True, PROCESS, "there is nothing to interrupt"),
        (False, PROCESS, "job job is on no spot instance"),
        (True, None, "job job is on no spot instance"),
    ],
)
def test_only_a_spot_job_that_is_played_can_be_interrupted(tmp_path: Path, is_spot, stand_in, told):
    wanted = request("ml.m5.large") | {"EnableManagedSpotTraining": is_spot}
    status = ended(created(1.0), "Completed", 2.0)
    settings = players.to_settings(stand_in)
    _, lock = JobRecords(tmp_path).create("job", wanted, settings, status)
    os.close(lock)
    with pytest.raises(WrongCall, match=told):
        LocalTrainingService(tmp_path).interrupt_training_job(TrainingJobName="job")
