"""The plans of jobs in containers: the request, what travels with the code, what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from sift_launcher.bundle import CodeBundle, CodeFile
from sift_launcher.engine import EngineTraits
from sift_launcher.errors import OptionError, ValidationError
from sift_launcher.images import ImageFacts
from sift_launcher.job_spec import JobSpec
from sift_launcher.local.machine import MachineShare
from sift_launcher.plan import plan
from sift_launcher.surroundings import Docker, Surroundings

ENGINE = EngineTraits(
    product="docker",
    version="27.1.0",
    architecture="amd64",
    is_rootless=False,
    is_remote=False,
    has_nvidia=True,
    memory_bytes=16 * 1024**3,
    cpus=4,
    data_root="/var/lib/docker",
)
OURS = ImageFacts("sift-training:cpu", "sha256:1", "amd64", "0123456789abcdef", "ours")
TOOLKIT = ImageFacts("aws/pytorch:2.13", "sha256:2", "amd64", None, "toolkit", "/opt/aws")
PLAIN = ImageFacts("pytorch/pytorch", "sha256:3", "amd64", None, "plain")
RUNTIME = (
    CodeFile(".sift/sift_entrypoint/__init__.py", 9, "/site/sift_entrypoint/__init__.py"),
    CodeFile(".sift/smart_sifting/__init__.py", 8, "/site/smart_sifting/__init__.py"),
)
BUNDLE = CodeBundle("/home/ada/digits", (CodeFile(".a", 1), CodeFile("train.py", 120)))
SPEC = JobSpec("train.py", instance="local", sift_config=None, name="digits")


def here(image: ImageFacts = OURS, runtime: tuple[CodeFile, ...] = ()) -> Surroundings:
    return Surroundings(
        now=datetime(2026, 3, 9, 8, 5, 1, tzinfo=timezone.utc),
        name_seed="k3x9",
        program="train.py",
        bundle=BUNDLE,
        channels={},
        output="/home/ada/out",
        python="/usr/bin/python3",
        docker=Docker(ENGINE, image, runtime),
    )


def test_a_job_in_one_container_of_our_image_is_this_request():
    planned = plan(SPEC, here())
    assert planned.request == {
        "TrainingJobName": "digits",
        "AlgorithmSpecification": {
            "TrainingImage": "sift-training:cpu",
            "TrainingInputMode": "File",
        },
        "RoleArn": "arn:aws:iam::000000000000:role/sift-launcher-local",
        "HyperParameters": {
            "sagemaker_submit_directory": '"file:///home/ada/out/digits/source/sourcedir.tar.gz"',
            "sagemaker_program": '"train.py"',
            "sagemaker_container_log_level": "20",
            "sagemaker_job_name": '"digits"',
        },
        "OutputDataConfig": {"S3OutputPath": "file:///home/ada/out"},
        "CheckpointConfig": {
            "S3Uri": "file:///home/ada/out/digits/checkpoints",
            "LocalPath": "/opt/ml/checkpoints",
        },
        "ResourceConfig": {"InstanceType": "local", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
    }
    assert planned.image == "sift-training:cpu"
    assert planned.bundle == BUNDLE
    assert planned.note is None


@pytest.mark.parametrize(
    ("change", "distributed"),
    [
        ({}, None),
        ({"count": 2}, "true"),
        ({"count": 2, "distribution": "none"}, None),
        ({"count": 1, "distribution": "torchrun"}, "true"),
        ({"count": 2, "script": "train.sh"}, None),
        ({"count": 2, "hyperparameters": {"sagemaker_torch_distributed_enabled": False}}, "false"),
    ],
)
def test_torchrun_spans_the_hosts_unless_told_otherwise(
    change: dict[str, Any], distributed: str | None
):
    sent = plan(replace(SPEC, **change), here()).request
    assert sent["HyperParameters"].get("sagemaker_torch_distributed_enabled") == distributed
    assert sent["ResourceConfig"]["InstanceCount"] == change.get("count", 1)


def test_what_a_container_gets_of_this_machine_is_in_the_plan_and_not_in_the_request():
    share = MachineShare(2 * 1024**3, 8 * 1024**3, 1.5, "linux/arm64")
    planned = plan(replace(SPEC, share=share), here())
    assert planned.share == share
    assert planned.request == plan(SPEC, here()).request
    assert planned.to_dict()["share"] == {
        "shm_bytes": 2147483648,
        "memory_bytes": 8589934592,
        "cpus": 1.5,
        "platform": "linux/arm64",
    }


def test_a_plain_image_is_started_through_the_runtime_that_travels():
    planned = plan(SPEC, here(PLAIN, RUNTIME))
    assert planned.request["AlgorithmSpecification"] == {
        "TrainingImage": "pytorch/pytorch",
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["python3", "-m", "sift_entrypoint"],
        "ContainerArguments": ["train"],
    }
    assert planned.request["Environment"] == {
        "PYTHONPATH": "/opt/ml/code/.sift/sift_entrypoint/site:/opt/ml/code/.sift"
    }
    assert [file.path for file in planned.bundle.files] == [
        ".a", ".sift/sift_entrypoint/__init__.py", ".sift/smart_sifting/__init__.py", "train.py",
    ]  # fmt: skip
    assert planned.note == (
        "image pytorch/pytorch has no sifting runtime: it travels with the code"
    )


def test_a_toolkit_image_keeps_its_own_train_and_its_own_path():
    planned = plan(SPEC, here(TOOLKIT, RUNTIME))
    assert planned.request["AlgorithmSpecification"] == {
        "TrainingImage": "aws/pytorch:2.13",
        "TrainingInputMode": "File",
    }
    assert planned.request["Environment"] == {
        "PYTHONPATH": "/opt/ml/code/.sift/sift_entrypoint/site:/opt/ml/code/.sift:/opt/aws"
    }


def test_the_users_own_path_stands_behind_the_runtimes():
    spec = replace(SPEC, environment={"A": "b", "PYTHONPATH": "/mine"})
    assert plan(spec, here(TOOLKIT, RUNTIME)).request["Environment"] == {
        "A": "b",
        "PYTHONPATH": "/opt/ml/code/.sift/sift_entrypoint/site:/opt/ml/code/.sift:/mine",
    }
    assert plan(spec, here(OURS)).request["Environment"] == {"A": "b", "PYTHONPATH": "/mine"}


def test_our_image_with_another_runtime_is_told_and_started_through_its_own_entrypoint():
    planned = plan(SPEC, here(OURS, RUNTIME))
    assert "ContainerEntrypoint" not in planned.request["AlgorithmSpecification"]
    assert planned.note == (
        "image sift-training:cpu has another version of the runtime: this one travels with the "
        "code (sift-launch build brings the image up to date)"
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"count": 0}, "--count 0 is no number of hosts: 1 to 20"),
        ({"count": 21}, "--count 21 is no number of hosts: 1 to 20"),
        ({"distribution": "mpi"}, "--distribution mpi is unknown: torchrun or none"),
        (
            {"distribution": "torchrun", "script": "go.sh"},
            "--distribution torchrun runs Python alone, and go.sh is none",
        ),
        (
            {
                "distribution": "none",
                "hyperparameters": {"sagemaker_torch_distributed_enabled": True},
            },
            "--distribution and -p sagemaker_torch_distributed_enabled say the same thing twice",
        ),
        ({"python": "python3"}, "--python python3 is for --instance process"),
        ({"image": " "}, "--image names no image"),
        (
            {"instance": "local_gpu", "count": 2},
            "--count 2 and --instance local_gpu contradict each other",
        ),
        ({"share": MachineShare(cpus=5)}, "--cpus 5: the engine has 4"),
        (
            {"share": MachineShare(memory_bytes=17 * 1024**3)},
            "--memory: 18.3 GB is more than the 17.2 GB that the engine has",
        ),
        (
            {"share": MachineShare(shm_bytes=17 * 1024**3)},
            "--shm-size: 18.3 GB is more than the 17.2 GB that the engine has",
        ),
        ({"share": MachineShare(memory_bytes=1024)}, "--memory: the engine grants no less than"),
    ],
)
def test_what_cannot_be_in_a_container_is_refused(change: dict[str, Any], told: str):
    with pytest.raises(OptionError) as caught:
        plan(replace(SPEC, **change), here())
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"image": "pytorch"}, "--image pytorch"),
        ({"count": 2}, "--count 2"),
        ({"share": MachineShare(shm_bytes=1)}, "--shm-size"),
        ({"share": MachineShare(memory_bytes=1)}, "--memory"),
        ({"share": MachineShare(cpus=1.5)}, "--cpus 1.5"),
        ({"share": MachineShare(platform="linux/amd64")}, "--platform linux/amd64"),
    ],
)
def test_what_only_containers_have_is_refused_of_a_process(change: dict[str, Any], option: str):
    with pytest.raises(OptionError) as caught:
        plan(replace(SPEC, instance="process", **change), replace(here(), docker=None))
    assert str(caught.value) == (
        f"{option} needs a container, and this job runs in a process: add --instance local, or "
        f"leave {option.split()[0]} out"
    )


@pytest.mark.parametrize(
    ("share", "option"),
    [(MachineShare(memory_bytes=1024**3), "--memory"), (MachineShare(cpus=1), "--cpus")],
)
def test_a_limit_that_the_engine_would_pass_over_is_refused(share: MachineShare, option: str):
    surroundings = replace(
        here(), docker=Docker(replace(ENGINE, is_rootless=True, has_limits=False), OURS)
    )
    with pytest.raises(OptionError, match=f"{option}: this engine cannot hold a container to a"):
        plan(replace(SPEC, share=share), surroundings)
    plan(replace(SPEC, share=MachineShare(shm_bytes=1024**3)), surroundings)


def test_a_path_that_is_too_long_with_the_runtimes_before_it_is_refused():
    spec = replace(SPEC, environment={"PYTHONPATH": "x" * 500})
    with pytest.raises(ValidationError, match="'PYTHONPATH' is longer than the 512"):
        plan(spec, here(PLAIN, RUNTIME))
