from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from sift_launcher.bundle import CodeBundle, CodeFile
from sift_launcher.errors import InstanceNotServed, OptionError, ValidationError
from sift_launcher.job_spec import Channel, JobSpec
from sift_launcher.plan import Plan, plan
from sift_launcher.surroundings import Surroundings
from smart_sifting.sift_config.job_config import SiftConfig

BUNDLE = CodeBundle("/home/ada/digits", (CodeFile("train.py", 120), CodeFile("util/net.py", 30)))
HERE = Surroundings(
    now=datetime(2026, 3, 9, 8, 5, 1, tzinfo=timezone.utc),
    name_seed="k3x9",
    program="train.py",
    bundle=BUNDLE,
    channels={},
    output="/home/ada/out put",
    python="/home/ada/.venv/bin/python",
)
SPEC = JobSpec("train.py", sift_config=None)
NAME = "train-20260309-080501-k3x9"
OUTPUT = "file:///home/ada/out%20put"


def request(name: str = NAME, **hyperparameters: str) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": "file:///home/ada/.venv/bin/python",
            "TrainingInputMode": "File",
        },
        "RoleArn": "arn:aws:iam::000000000000:role/sift-launcher-local",
        "HyperParameters": hyperparameters
        | {
            "sagemaker_submit_directory": f'"{OUTPUT}/{name}/source/sourcedir.tar.gz"',
            "sagemaker_program": '"train.py"',
            "sagemaker_container_log_level": "20",
            "sagemaker_job_name": f'"{name}"',
        },
        "OutputDataConfig": {"S3OutputPath": OUTPUT},
        "CheckpointConfig": {
            "S3Uri": f"{OUTPUT}/{name}/checkpoints",
            "LocalPath": "/opt/ml/checkpoints",
        },
        "ResourceConfig": {"InstanceType": "process", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
    }


def test_the_plan_of_a_plain_job_is_this_request():
    assert plan(SPEC, HERE) == Plan(
        request=request(),
        bundle=BUNDLE,
        bundle_uri=f"{OUTPUT}/{NAME}/source/sourcedir.tar.gz",
        image="file:///home/ada/.venv/bin/python",
        max_cost_dollars=0.0,
    )


def test_hyperparameters_are_encoded_as_the_estimator_encodes_them():
    values = {"epochs": 3, "lr": 0.1, "amp": True, "resume": None, "net": "cnn", "s": "5"}
    planned = plan(replace(SPEC, hyperparameters=values), HERE)
    assert planned.request == request(
        epochs="3", lr="0.1", amp="true", resume="null", net='"cnn"', s='"5"'
    )


def test_a_sift_config_travels_as_json_in_a_json_string():
    planned = plan(replace(SPEC, sift_config=SiftConfig(keep=0.25, seed=4)), HERE)
    text = (
        '{"acceptance": "quota", "auto": false, "class_floor": 0.5, "keep": 0.25, "loss": null, '
        '"loss_history_length": 500, "repeat_delay_per_epoch": false, "seed": 4, '
        '"sift_delay": 0, "source": "auto"}'
    )
    assert planned.request == request(sift_config=json.dumps(text))


def test_a_job_sifts_unless_it_is_told_not_to():
    planned = plan(JobSpec("train.py"), HERE)
    sent = json.loads(planned.request["HyperParameters"]["sift_config"])
    assert SiftConfig.parse(sent) == SiftConfig(keep=0.5)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--flag", "--list", "a", "b"),
        ("", " ", "two words", "it's", 'say "hi"', "$HOME", "a\nb", "--", "--sift_config", "ünï-✓"),
    ],
)
def test_arguments_travel_as_a_json_list(arguments: tuple[str, ...]):
    planned = plan(replace(SPEC, arguments=arguments), HERE)
    sent = planned.request["HyperParameters"]["sift_arguments"]
    assert tuple(json.loads(json.loads(sent))) == arguments
    assert planned.request == request(sift_arguments=sent)


def test_channels_and_variables_are_in_the_request_when_there_are_any():
    spec = replace(
        SPEC,
        name="digits-1",
        channels={"train": Channel("data"), "labels": Channel("labels.csv")},
        environment={"OMP_NUM_THREADS": "2"},
        max_run_seconds=60,
    )
    here = replace(HERE, channels={"train": "/data/train", "labels": "/data/labels.csv"})
    assert plan(spec, here).request == request("digits-1") | {
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "DataSource": {
                    "FileDataSource": {
                        "FileDataDistributionType": "FullyReplicated",
                        "FileUri": "file:///data/train",
                    }
                },
            },
            {
                "ChannelName": "labels",
                "DataSource": {
                    "FileDataSource": {
                        "FileDataDistributionType": "FullyReplicated",
                        "FileUri": "file:///data/labels.csv",
                    }
                },
            },
        ],
        "Environment": {"OMP_NUM_THREADS": "2"},
    }


def test_a_job_here_takes_what_describes_it_in_sagemaker_too():
    spec = replace(
        SPEC,
        name="digits-1",
        channels={
            "train": Channel("data", sharded=True, input_mode="FastFile"),
            "test": Channel("s3://bkt/test", sharded=True),
        },
        input_mode="FastFile",
        metrics={"loss": "loss: ([0-9.]+)"},
        tags={"team": "vision"},
    )
    here = replace(
        HERE,
        channels={"train": "/data/train", "test": "s3://bkt/test"},
        checkpoint="/home/ada/kept",
    )
    assert plan(spec, here).request == request("digits-1") | {
        "AlgorithmSpecification": {
            "TrainingImage": "file:///home/ada/.venv/bin/python",
            "TrainingInputMode": "FastFile",
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss: ([0-9.]+)"}],
        },
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "DataSource": {
                    "FileDataSource": {
                        "FileDataDistributionType": "ShardedByS3Key",
                        "FileUri": "file:///data/train",
                    }
                },
                "InputMode": "FastFile",
            },
            {
                "ChannelName": "test",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": "s3://bkt/test",
                        "S3DataDistributionType": "ShardedByS3Key",
                    }
                },
            },
        ],
        "CheckpointConfig": {
            "S3Uri": "file:///home/ada/kept",
            "LocalPath": "/opt/ml/checkpoints",
        },
        "Tags": [{"Key": "team", "Value": "vision"}],
    }


def test_planning_twice_gives_equal_plans_and_leaves_its_arguments_alone():
    spec = replace(SPEC, hyperparameters={"epochs": 3}, environment={"A": "b"})
    before = copy.deepcopy((spec, HERE))
    first, second = plan(spec, HERE), plan(spec, HERE)
    assert first == second
    # What is changed in one plan's request is not shared with the specification or another plan.
    first.request["Environment"]["A"] = "changed"
    first.request["HyperParameters"].clear()
    assert (spec, HERE) == before
    assert plan(spec, HERE) == second


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("train.py", "train-20260309-080501-k3x9"),
        ("src/my_train.v2.py", "my-train-v2-20260309-080501-k3x9"),
        ("___.py", "job-20260309-080501-k3x9"),
        ("x" * 80 + ".py", "x" * 42 + "-20260309-080501-k3x9"),
    ],
)
def test_a_job_is_named_by_its_script_and_the_time(program: str, name: str):
    assert plan(SPEC, replace(HERE, program=program)).name == name
    assert len(name) <= 63


@pytest.mark.parametrize(
    ("instance", "told"),
    [
        ("proces", "unknown instance 'proces' (did you mean process?)"),
        ("local-gpu", "unknown instance 'local-gpu' (did you mean local_gpu?)"),
        ("gpu", "unknown instance 'gpu' (did you mean local_gpu?)"),
        ("cloud", "unknown instance 'cloud'"),
        ("", "unknown instance ''"),
    ],
)
def test_an_instance_that_is_not_served_is_named_with_what_to_use(instance: str, told: str):
    with pytest.raises(InstanceNotServed) as caught:
        plan(replace(SPEC, instance=instance), HERE)
    assert str(caught.value) == (
        f"{told}: use --instance process (a process on this machine), local (a Docker container), "
        "local_gpu (one with this machine's GPUs), or one of SageMaker's, such as ml.g5.xlarge"
    )


@pytest.mark.parametrize("key", ["sift_config", "sift_arguments", "sagemaker_program"])
def test_a_hyperparameter_of_the_launchers_own_is_refused(key: str):
    with pytest.raises(OptionError, match=f"hyperparameter {key} is the launcher's own: use "):
        plan(replace(SPEC, hyperparameters={key: "x"}), HERE)


def test_the_toolkits_own_switches_pass():
    planned = plan(
        replace(SPEC, hyperparameters={"sagemaker_torch_distributed_enabled": True}), HERE
    )
    assert planned.request == request(sagemaker_torch_distributed_enabled="true")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "my_job"}, "'my_job' cannot be a job's name.* Try --name my-job"),
        ({"name": "-a"}, "Try --name a"),
        ({"name": "a-"}, "Try --name a"),
        ({"name": ""}, "Try letters, digits and single hyphens"),
        ({"name": "a" * 64}, "at most 63"),
        ({"name": "tr\u00e4in"}, "Try --name tr-in"),
        ({"name": "train\n"}, "Try --name train"),
        ({"arguments": ("x" * 3000,)}, "what follows -- is 30.. characters long"),
        ({"hyperparameters": {"k": "v" * 2500}}, "hyperparameter 'k' is 2502 characters long"),
        ({"hyperparameters": {"k" * 257: 1}}, "has 257 characters"),
        ({"hyperparameters": {f"k{i}": i for i in range(97)}}, "101 hyperparameters"),
        ({"environment": {"1A": ""}}, "'1A' cannot be the name of an environment variable"),
        ({"environment": {"A": "x" * 513}}, "'A' is longer than the 512"),
        ({"channels": {"a b": Channel("d")}}, "'a b' cannot be a channel's name"),
        ({"channels": {"..": Channel("d")}}, "'..' cannot be a channel's name"),
        ({"channels": {f"c{i}": Channel("d") for i in range(21)}}, "21 channels"),
        ({"max_run_seconds": 0}, "--max-run 0"),
        ({"max_run_seconds": 2419201}, "--max-run 2419201"),
    ],
)
def test_what_sagemaker_would_refuse_is_refused(change: dict[str, Any], told: str):
    with pytest.raises(ValidationError, match=told):
        plan(replace(SPEC, **change), HERE)


@pytest.mark.parametrize("name", ["a", "A1", "a--b", "0-0", "a" * 63])
def test_what_sagemaker_would_take_as_a_name_is_taken(name: str):
    assert plan(replace(SPEC, name=name), HERE).name == name
