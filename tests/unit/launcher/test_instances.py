"""Which option means something where: on this machine, in its containers, in SageMaker."""

from __future__ import annotations

from typing import Any

import pytest

from sift_launcher.errors import InstanceNotServed, OptionError
from sift_launcher.instances import check_instance, in_words, means_something
from sift_launcher.job_spec import JobSpec
from sift_launcher.local.machine import MachineShare
from sift_launcher.plan import check

SERVED = {"process": "process", "container": "local", "cloud": "ml.g5.xlarge"}

# option, its field and value, and where it means something
TABLE = [
    ("python", {"python": "python3"}, "process"),
    ("image", {"image": "me/torch"}, "container cloud"),
    ("count", {"count": 2}, "container cloud"),
    ("shm-size", {"share": MachineShare(shm_bytes=1)}, "container"),
    ("memory", {"share": MachineShare(memory_bytes=1)}, "container"),
    ("cpus", {"share": MachineShare(cpus=1.5)}, "container"),
    ("platform", {"share": MachineShare(platform="linux/amd64")}, "container"),
    ("role", {"role": "SageMakerRole"}, "cloud"),
    ("spot", {"spot": True}, "cloud"),
    ("max-wait", {"max_wait_seconds": 90000, "spot": True}, "cloud"),
    ("volume-size", {"volume_size_gb": 50}, "cloud"),
    ("kms-key", {"kms_key": "alias/a"}, "cloud"),
    ("subnet", {"subnets": ("subnet-1",), "security_groups": ("sg-1",)}, "cloud"),
    ("security-group", {"subnets": ("subnet-1",), "security_groups": ("sg-1",)}, "cloud"),
    ("network-isolation", {"network_isolation": True}, "cloud"),
    ("keep-alive", {"keep_alive_seconds": 60}, "cloud"),
    ("retries", {"retries": 2}, "cloud"),
    ("price", {"price_dollars": 1.5}, "cloud"),
    # These describe the job, and hold wherever it runs.
    ("shard", {"channels": {}}, "process container cloud"),
    ("input-mode", {"input_mode": "FastFile"}, "process container cloud"),
    ("metric", {"metrics": {"loss": "(.)"}}, "process container cloud"),
    ("tag", {"tags": {"a": "b"}}, "process container cloud"),
    ("region", {"region": "eu-west-1"}, "process container cloud"),
    ("profile", {"profile": "mine"}, "process container cloud"),
    ("distribution", {"distribution": "torchrun"}, "process container cloud"),
]


@pytest.mark.parametrize("place", SERVED)
@pytest.mark.parametrize(("option", "given", "places"), TABLE, ids=[row[0] for row in TABLE])
def test_an_option_is_taken_where_it_means_something_and_refused_elsewhere(
    option: str, given: dict[str, Any], places: str, place: str
):
    spec = JobSpec("train.py", instance=SERVED[place], **given)
    assert means_something(option, spec.instance) == (place in places.split())
    if place in places.split():
        check(spec)
        return
    with pytest.raises(OptionError, match=r"^--.* leave --|is for --instance process"):
        check(spec)


@pytest.mark.parametrize("instance", ["process", "local", "local_gpu"])
@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"spot": True},
            "--spot is for SageMaker's instances, and this job runs on this machine: add "
            "--instance ml.g5.xlarge (with --rehearse it is played here), or leave --spot out",
        ),
        (
            {"output": "s3://bkt/out"},
            "--output s3://bkt/out is for jobs in SageMaker: this machine writes to a folder, as "
            "in --output sift-output",
        ),
        (
            {"checkpoint": "s3://bkt/ck"},
            "--checkpoint s3://bkt/ck is for jobs in SageMaker: this machine writes to a folder, "
            "as in --checkpoint sift-output",
        ),
    ],
)
def test_what_only_sagemaker_grants_is_refused_of_this_machine_with_the_way_to_have_it(
    given: dict[str, Any], told: str, instance: str
):
    with pytest.raises(OptionError) as caught:
        check(JobSpec("train.py", instance=instance, **given))
    assert str(caught.value) == told


def test_what_only_containers_here_have_is_refused_of_an_instance():
    with pytest.raises(OptionError) as caught:
        check(JobSpec("train.py", instance="ml.m5.large", share=MachineShare(memory_bytes=9)))
    assert str(caught.value) == (
        "--memory is for containers on this machine: an instance of SageMaker has what its type "
        "says; leave --memory out"
    )


@pytest.mark.parametrize("count", [1, 200])
def test_how_many_instances_one_may_have_is_for_the_account_to_say(count: int):
    check(JobSpec("train.py", instance="ml.m5.large", count=count))


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("ml.g5.xlarg", "SageMaker trains on no instance 'ml.g5.xlarg': did you mean ml.g5.xlarge"),
        ("ml.p4d.24xl", "SageMaker trains on no instance 'ml.p4d.24xl': did you mean ml.p4d.24xl"),
        ("g5.xlarge", "unknown instance 'g5.xlarge': write --instance ml.g5.xlarge"),
        ("lokal", "unknown instance 'lokal' (did you mean local?): use --instance process"),
    ],
)
def test_a_slip_in_an_instance_is_answered_with_the_nearest_names(typed: str, told: str):
    with pytest.raises(InstanceNotServed) as caught:
        check_instance(typed)
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    ("instance", "count", "words"),
    [
        ("process", 1, "in a process on this machine"),
        ("local", 2, "in 2 containers on this machine"),
        ("local_gpu", 1, "in a container on this machine with its GPUs"),
        ("ml.g5.xlarge", 1, "on ml.g5.xlarge"),
        ("ml.g5.xlarge", 3, "on 3 x ml.g5.xlarge"),
    ],
)
def test_where_a_request_runs_can_be_said(instance: str, count: int, words: str):
    assert in_words({"InstanceType": instance, "InstanceCount": count}) == words
