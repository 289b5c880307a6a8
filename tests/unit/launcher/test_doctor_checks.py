"""What the doctor says of what it has seen, as literal tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sift_launcher.doctor.checks import Check, can_run, examine
from sift_launcher.doctor.facts import CloudFacts, Facts, PythonFacts
from sift_launcher.engine import EngineTraits
from sift_launcher.errors import ExtraMissing
from sift_launcher.images import ImageFacts

ENGINE = EngineTraits(
    product="docker",
    version="27.1.0",
    architecture="amd64",
    is_rootless=False,
    is_remote=False,
    has_nvidia=True,
    memory_bytes=16_000_000_000,
    cpus=8,
    data_root="/var/lib/docker",
)
PYTHON = PythonFacts("/usr/bin/python3", (3, 12, 1), "2.13.0+cu130")
WELL = Facts(
    instance="local",
    image_name="sift-training:cpu",
    python=PYTHON,
    shm_bytes=8_000_000_000,
    address="unix:///var/run/docker.sock",
    socket="open",
    engine=ENGINE,
    free_bytes=70_000_000_000,
    image=ImageFacts("sift-training:cpu", "sha256:1", "amd64", "0123", "ours"),
    inside=PythonFacts("sift-training:cpu", (3, 11, 2), "2.13.0+cpu"),
    cloud=CloudFacts(
        True,
        "/usr/bin/python3",
        "eu-west-1",
        "arn:aws:iam::123456789012:user/ada",
        role="arn:aws:iam::123456789012:role/SageMakerTraining",
    ),
)


def told(facts: Facts) -> dict[str, str]:
    return {check.name: check.told for check in examine(facts)}


def wrong(facts: Facts) -> dict[str, tuple[bool, str, str]]:
    return {
        check.name: (check.is_needed, check.told, check.mend)
        for check in examine(facts)
        if not check.is_ok
    }


def test_where_all_is_well_each_line_says_what_there_is():
    assert told(WELL) == {
        "instance": "local",
        "python": "3.12.1 at /usr/bin/python3",
        "torch": "2.13.0+cu130",
        "shm": "up to 8.0 GB in each container (--shm-size sets it)",
        "socket": "/var/run/docker.sock can be read and written",
        "engine": "docker at /var/run/docker.sock, 8 processors, 16.0 GB of memory",
        "version": "docker 27.1.0",
        "disk": "70.0 GB free in /var/lib/docker, where images are kept",
        "image": "sift-training:cpu, with the sifting runtime",
        "architecture": "amd64, as the engine's",
        "image python": "3.11.2",
        "image torch": "2.13.0+cpu",
        "nvidia": "the engine hands GPUs to containers",
        "region": "eu-west-1",
        "credentials": "arn:aws:iam::123456789012:user/ada",
        "role": "arn:aws:iam::123456789012:role/SageMakerTraining",
    }
    assert wrong(WELL) == {}
    assert can_run(examine(WELL))


@pytest.mark.parametrize(
    ("change", "name", "said", "mend"),
    [
        (
            {"free_bytes": 4_000_000_000},
            "disk",
            "4.0 GB free in /var/lib/docker, where images are kept",
            "docker image prune frees what no image uses",
        ),
        (
            {"image": None, "image_problem": "there is no image x yet: sift-launch build makes it"},
            "image",
            "there is no image x yet: sift-launch build makes it",
            "",
        ),
        (
            {"inside": PythonFacts("x", problem='exec: "python3": not found')},
            "image python",
            'python3 does not start in it: exec: "python3": not found',
            "sift-launch build --base IMAGE, of one with Python 3.10 or newer",
        ),
        (
            {"inside": PythonFacts("x", (3, 9, 2), "2.13.0")},
            "image python",
            "3.9.2",
            "sift-launch build --base IMAGE, of one with Python 3.10 or newer",
        ),
        (
            {"inside": PythonFacts("x", (3, 11, 2), None)},
            "image torch",
            "not in the image",
            "sift-launch build",
        ),
        (
            {
                "address": "tcp://farm:1",
                "socket": "remote",
                "engine": replace(ENGINE, is_remote=True),
            },
            "engine",
            "tcp://farm:1 is another machine, which cannot mount a job's files",
            "unset DOCKER_HOST, or docker context use default",
        ),
    ],
)
def test_what_a_container_lacks_is_named_with_its_mend(
    change: dict[str, Any], name: str, said: str, mend: str
):
    facts = replace(WELL, **change)
    assert wrong(facts) == {name: (True, said, mend)}
    assert not can_run(examine(facts))
    # A process needs none of it.
    facts = replace(facts, instance="process")
    assert wrong(facts)[name][0] is False
    assert can_run(examine(facts))


@pytest.mark.parametrize(
    ("change", "name", "said", "mend"),
    [
        (
            {"python": replace(PYTHON, version=(3, 9, 18))},
            "python",
            "3.9.18 at /usr/bin/python3",
            "install Python 3.10 or newer, and name it with --python",
        ),
        (
            {"python": PythonFacts("/bin/false", problem="no word of why")},
            "python",
            "/bin/false does not answer: no word of why",
            "name another with --python",
        ),
        (
            {"python": replace(PYTHON, torch=None)},
            "torch",
            "not installed in /usr/bin/python3",
            "/usr/bin/python3 -m pip install torch",
        ),
        (
            {"shm_bytes": 67_108_864},
            "shm",
            "67.1 MB in /dev/shm, where DataLoader workers put their batches",
            "sudo mount -o remount,size=2g /dev/shm",
        ),
    ],
)
def test_what_a_process_lacks_is_named_with_its_mend(
    change: dict[str, Any], name: str, said: str, mend: str
):
    facts = replace(WELL, instance="process", **change)
    assert wrong(facts) == {name: (True, said, mend)}
    assert not can_run(examine(facts))
    assert can_run(examine(replace(facts, instance="local")))


def test_without_an_engine_a_process_runs_and_a_container_does_not():
    facts = replace(
        WELL, socket="none", engine=None, engine_problem="no Docker engine answers: start it",
        image=None, inside=None,
    )  # fmt: skip
    assert wrong(facts) == {
        "engine": (True, "no Docker engine answers: start it", ""),
        "nvidia": (False, "not known without an engine", ""),
    }
    assert not can_run(examine(facts))
    assert can_run(examine(replace(facts, instance="process")))


def test_a_socket_that_is_closed_to_this_user_is_named_first():
    facts = replace(WELL, socket="closed", engine=None, engine_problem="may not", image=None)
    first = next(check for check in examine(facts) if not check.is_ok)
    assert first == Check(
        "socket",
        False,
        True,
        "this user may not talk to /var/run/docker.sock",
        "sudo usermod -aG docker $USER, then log in again",
    )


def test_gpus_need_the_runtime_and_a_torch_that_knows_them():
    facts = replace(WELL, instance="local_gpu")
    assert wrong(facts) == {
        "image torch": (True, "2.13.0+cpu, which knows no GPU", "sift-launch build --device gpu")
    }
    facts = replace(facts, inside=PythonFacts("x", (3, 11, 2), "2.13.0+cu130"))
    assert can_run(examine(facts))
    facts = replace(facts, engine=replace(ENGINE, has_nvidia=False))
    assert list(wrong(facts)) == ["nvidia"]
    assert wrong(facts)["nvidia"][1].startswith("the Docker engine has no NVIDIA runtime")
    assert not can_run(examine(facts))
    assert can_run(examine(replace(facts, instance="local")))


@pytest.mark.parametrize(
    ("cloud", "expected"),
    [
        (
            CloudFacts(False, "/usr/bin/python3"),
            {
                "region": ("none is set", "export AWS_REGION=us-east-1, or aws configure"),
                "credentials": (
                    "not known without botocore",
                    "/usr/bin/python3 -m pip install 'sift-launcher[cloud]'",
                ),
                "role": (
                    "not known without botocore",
                    "/usr/bin/python3 -m pip install 'sift-launcher[cloud]'",
                ),
            },
        ),
        (
            CloudFacts(True, "p", "eu-west-1", None, "there are none: aws configure", "arn:role"),
            {"credentials": ("there are none: aws configure", "")},
        ),
    ],
)
def test_what_the_cloud_would_need_is_said_and_hinders_no_job_here(
    cloud: CloudFacts, expected: dict[str, tuple[str, str]]
):
    facts = replace(WELL, cloud=cloud)
    assert wrong(facts) == {name: (False, *words) for name, words in expected.items()}
    assert can_run(examine(facts))


def test_a_missing_role_comes_with_the_command_that_makes_one():
    cloud = replace(WELL.cloud, role=None, role_problem="no role trusts sagemaker.amazonaws.com")
    (said, mend) = wrong(replace(WELL, cloud=cloud))["role"][1:]
    assert said == "no role trusts sagemaker.amazonaws.com"
    assert mend.startswith("aws iam create-role --role-name SageMakerTraining --assume-role-")


def test_a_job_in_sagemaker_needs_region_credentials_role_and_quota():
    cloud = replace(WELL.cloud, quota="2 x ml.g5.xlarge at once")
    facts = replace(WELL, instance="ml.g5.xlarge", cloud=cloud, engine=None, image=None)
    assert can_run(examine(facts))
    assert told(facts)["quota"] == "2 x ml.g5.xlarge at once"
    for name, lacking in {
        "region": replace(cloud, region=None),
        "credentials": replace(cloud, identity=None, identity_problem="expired"),
        "role": replace(cloud, role=None, role_problem="no role"),
        "quota": replace(cloud, quota=None, quota_problem="is 0: aws service-quotas ..."),
    }.items():
        assert wrong(replace(facts, cloud=lacking))[name][0]
        assert not can_run(examine(replace(facts, cloud=lacking)))


@pytest.mark.parametrize("instance", ["ml.g5.xlarg", "lokal"])
def test_an_instance_that_is_not_served_cannot_run(instance: str):
    facts = replace(WELL, instance=instance)
    assert wrong(facts)["instance"][0]
    assert not can_run(examine(facts))


def test_a_package_that_is_not_installed_is_one_line_among_the_others(monkeypatch):
    def missing(instance: str) -> None:
        raise ExtraMissing("jobs in SageMaker need AWS's packages: pip install")

    monkeypatch.setattr("sift_launcher.cloud.instance_types.check_instance_type", missing)
    facts = replace(WELL, instance="ml.g5.xlarge")
    told = "jobs in SageMaker need AWS's packages: pip install"
    assert wrong(facts)["instance"][1] == told
    assert not can_run(examine(facts))
