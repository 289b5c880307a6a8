"""The plans of jobs in SageMaker: the exact request, what it can cost, what is refused."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from cloud_here import BUCKET, CLOUD, CODE, IMAGE, ROLE, RUNTIME, SPEC, here

from sift_launcher import carried
from sift_launcher.bundle import CodeFile
from sift_launcher.cloud.facts import Upload
from sift_launcher.errors import OptionError, SiftLaunchError, ValidationError
from sift_launcher.images import ImageFacts
from sift_launcher.job_spec import Channel
from sift_launcher.plan import check, plan
from smart_sifting.sift_config.job_config import SiftConfig


def request(**more: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": "digits",
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "HyperParameters": hyperparameters(),
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/"},
        "ResourceConfig": {
            "InstanceType": "ml.g5.xlarge",
            "InstanceCount": 1,
            "VolumeSizeInGB": 30,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        "ProfilerConfig": {"DisableProfiler": True},
    } | more


def hyperparameters(code: str = CODE, **more: str) -> dict[str, str]:
    return {
        "sagemaker_submit_directory": f'"{code}"',
        "sagemaker_program": '"train.py"',
        "sagemaker_container_log_level": "20",
        "sagemaker_job_name": '"digits"',
        "sagemaker_region": '"us-east-1"',
    } | more


def s3(name: str, uri: str, how: str = "FullyReplicated") -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": how}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def resources(**more: int) -> dict[str, Any]:
    return request()["ResourceConfig"] | more


def test_the_plan_of_a_plain_job_is_this_request():
    planned = plan(SPEC, here())
    assert planned.request == request()
    assert planned.place == "cloud"
    assert planned.bundle_uri == CODE
    assert planned.image == IMAGE
    assert planned.bundle == here().bundle
    assert planned.note is None
    assert planned.cloud == CLOUD


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (
            {"hyperparameters": {"epochs": 3, "net": "cnn", "amp": True, "resume": None}},
            {
                "HyperParameters": hyperparameters(
                    epochs="3", net='"cnn"', amp="true", resume="null"
                )
            },
        ),
        (
            {"arguments": ("--lr", "1 e")},
            {"HyperParameters": hyperparameters(sift_arguments='"[\\"--lr\\", \\"1 e\\"]"')},
        ),
        (
            {"count": 2},
            {
                "ResourceConfig": resources(InstanceCount=2),
                "HyperParameters": hyperparameters(
                    sagemaker_torch_distributed_enabled="true",
                    sagemaker_instance_type='"ml.g5.xlarge"',
                ),
            },
        ),
        ({"count": 2, "distribution": "none"}, {"ResourceConfig": resources(InstanceCount=2)}),
        (
            {"hyperparameters": {"sagemaker_torch_distributed_enabled": True}},
            {"HyperParameters": hyperparameters(sagemaker_torch_distributed_enabled="true")},
        ),
        ({"max_run_seconds": 60}, {"StoppingCondition": {"MaxRuntimeInSeconds": 60}}),
        (
            {"volume_size_gb": 100, "keep_alive_seconds": 600},
            {"ResourceConfig": resources(VolumeSizeInGB=100, KeepAlivePeriodInSeconds=600)},
        ),
        (
            {"input_mode": "FastFile", "metrics": {"loss": "loss: ([0-9.]+)"}},
            {
                "AlgorithmSpecification": {
                    "TrainingImage": IMAGE,
                    "TrainingInputMode": "FastFile",
                    "MetricDefinitions": [{"Name": "loss", "Regex": "loss: ([0-9.]+)"}],
                }
            },
        ),
        (
            {"spot": True, "max_run_seconds": 3600},
            {
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 90000},
                "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/digits/checkpoints"},
            },
        ),
        (
            {"spot": True, "max_run_seconds": 60, "max_wait_seconds": 61, "checkpoint": "s3://bkt"},
            {
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 61},
                "CheckpointConfig": {"S3Uri": "s3://bkt"},
            },
        ),
        (
            {"spot": True, "max_run_seconds": 28 * 86400, "checkpoint": "s3://bkt/c"},
            {
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {
                    "MaxRuntimeInSeconds": 28 * 86400,
                    "MaxWaitTimeInSeconds": 28 * 86400,
                },
                "CheckpointConfig": {"S3Uri": "s3://bkt/c"},
            },
        ),
        ({"checkpoint": "s3://bkt/c"}, {"CheckpointConfig": {"S3Uri": "s3://bkt/c"}}),
        (
            {"kms_key": "alias/mine", "retries": 3, "tags": {"team": "vision", "a": ""}},
            {
                "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/", "KmsKeyId": "alias/mine"},
                "RetryStrategy": {"MaximumRetryAttempts": 3},
                "Tags": [{"Key": "team", "Value": "vision"}, {"Key": "a", "Value": ""}],
            },
        ),
        (
            {"subnets": ("subnet-1", "subnet-2"), "security_groups": ("sg-1",)},
            {"VpcConfig": {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}},
        ),
        ({"environment": {"A": "b"}}, {"Environment": {"A": "b"}}),
        (
            {"channels": {"train": Channel("s3://bkt/t", True, "FastFile"), "test": Channel("s3://b-1")}},
            {
                "InputDataConfig": [
                    s3("train", "s3://bkt/t", "ShardedByS3Key") | {"InputMode": "FastFile"},
                    s3("test", "s3://b-1"),
                ]
            },
        ),
    ],
)  # fmt: skip
def test_each_option_is_in_the_request_where_the_estimator_puts_it(
    change: dict[str, Any], difference: dict[str, Any]
):
    assert plan(replace(SPEC, **change), here()).request == request(**difference)


def test_without_network_the_code_is_a_channel():
    spec = replace(SPEC, network_isolation=True, channels={"train": Channel("s3://bkt/t")})
    assert plan(spec, here()).request == request(
        EnableNetworkIsolation=True,
        HyperParameters=hyperparameters("/opt/ml/input/data/code/sourcedir.tar.gz"),
        InputDataConfig=[s3("train", "s3://bkt/t"), s3("code", CODE)],
    )


def test_a_plain_image_is_started_through_the_runtime_that_its_code_channel_brings():
    cloud = replace(
        CLOUD, image=ImageFacts("me/torch:1", "sha256:2", "amd64", None, "plain"), runtime=RUNTIME
    )
    planned = plan(SPEC, here(cloud))
    assert planned.request == request(
        AlgorithmSpecification={
            "TrainingImage": "me/torch:1",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": list(carried.cloud_entrypoint()),
        },
        HyperParameters=hyperparameters("/opt/ml/input/data/code/sourcedir.tar.gz"),
        InputDataConfig=[s3("code", CODE)],
        Environment={"PYTHONPATH": "/opt/ml/code/.sift/sift_entrypoint/site:/opt/ml/code/.sift"},
    )
    assert planned.note == "image me/torch:1 has no sifting runtime: it travels with the code"


def test_the_runtime_that_travels_is_in_the_bundle_and_on_the_path():
    config = SiftConfig(keep=0.25)
    planned = plan(replace(SPEC, sift_config=config), here(replace(CLOUD, runtime=RUNTIME)))
    text = config.to_json().replace('"', '\\"')
    assert planned.request == request(
        HyperParameters=hyperparameters(sift_config=f'"{text}"'),
        Environment={"PYTHONPATH": "/opt/ml/code/.sift/sift_entrypoint/site:/opt/ml/code/.sift"},
    )
    assert [file.path for file in planned.bundle.files] == [
        ".a", ".sift/smart_sifting/__init__.py", "train.py",
    ]  # fmt: skip


def test_the_code_the_uploads_and_the_checkpoints_go_where_the_outputs_go():
    uri = "s3://mine/sift-data/0123/"
    upload = Upload("train", "/home/ada/data", uri, (CodeFile("a.bin", 7, "/home/ada/data/a.bin"),))
    spec = replace(
        SPEC, output="s3://mine/models", spot=True, channels={"train": Channel("data", True)}
    )
    planned = plan(spec, here(replace(CLOUD, uploads=(upload,)), "s3://mine/models"))
    assert planned.request == request(
        OutputDataConfig={"S3OutputPath": "s3://mine/models"},
        HyperParameters=hyperparameters("s3://mine/digits/source/sourcedir.tar.gz"),
        StoppingCondition={"MaxRuntimeInSeconds": 86400, "MaxWaitTimeInSeconds": 172800},
        CheckpointConfig={"S3Uri": "s3://mine/digits/checkpoints"},
        EnableManagedSpotTraining=True,
        InputDataConfig=[s3("train", uri, "ShardedByS3Key")],
    )
    assert planned.bundle_uri == "s3://mine/digits/source/sourcedir.tar.gz"


@pytest.mark.parametrize(
    ("change", "most", "spot"),
    [
        ({}, 1.408 * 24, None),
        ({"count": 4, "max_run_seconds": 900}, 1.408, None),
        ({"spot": True, "max_wait_seconds": 90000}, 1.408 * 24, 0.4 * 24),
        ({"max_run_seconds": 1800, "keep_alive_seconds": 1800}, 1.408, None),
        ({"max_run_seconds": 3600, "retries": 5}, 1.408, None),
    ],
)
def test_the_most_it_can_cost_is_price_times_hosts_times_the_longest_run(
    change: dict[str, Any], most: float, spot: float | None
):
    planned = plan(replace(SPEC, **change), here())
    assert planned.max_cost_dollars == pytest.approx(most)
    assert planned.spot_cost_dollars == (None if spot is None else pytest.approx(spot))


def test_without_prices_the_cost_is_unknown():
    planned = plan(replace(SPEC, spot=True), here(replace(CLOUD, prices=None)))
    assert planned.max_cost_dollars is None
    assert planned.spot_cost_dollars is None


def test_planning_twice_gives_equal_plans_and_leaves_its_arguments_alone():
    spec = replace(SPEC, environment={"A": "b"}, channels={"t": Channel("s3://bkt/t")})
    surroundings = here()
    before = copy.deepcopy((spec, surroundings))
    first = plan(spec, surroundings)
    first.request["Environment"]["A"] = "changed"
    first.request["HyperParameters"].clear()
    assert (spec, surroundings) == before
    assert plan(spec, surroundings).request != first.request


SPOT = {"spot": True}


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"count": 0}, OptionError, "--count 0 is no number of hosts: 1 or more"),
        ({"python": "python3"}, OptionError, "--python python3 is for --instance process"),
        ({"image": ""}, OptionError, "--image names no image"),
        ({"input_mode": "Pipe"}, OptionError, "--input-mode Pipe is unknown: File or FastFile"),
        (
            {"channels": {"t": Channel("s3://bkt", input_mode="fast")}},
            OptionError,
            "channel t: input mode fast is unknown: File or FastFile",
        ),
        ({"output": "out"}, OptionError, "--output out is a folder of this machine, and SageMaker"),
        ({"checkpoint": "/ck"}, OptionError, "--checkpoint /ck is a folder of this machine, and"),
        ({"output": "s3://B/x"}, ValidationError, "--output 's3://B/x' is no place in S3: write"),
        ({"checkpoint": "s3://"}, ValidationError, "--checkpoint 's3://' is no place in S3"),
        (
            {"channels": {"t": Channel("s3://my bucket/x")}},
            ValidationError,
            "--data t: 's3://my bucket/x' is no place in S3",
        ),
        ({"max_wait_seconds": 90000}, OptionError, "--max-wait 90000 is how long a job may wait"),
        (
            SPOT | {"max_wait_seconds": 60},
            ValidationError,
            "--max-wait 60 is shorter than --max-run 86400, which it includes",
        ),
        (SPOT | {"max_wait_seconds": 2419201}, ValidationError, "--max-wait 2419201 is not a time"),
        (
            SPOT | {"keep_alive_seconds": 60},
            OptionError,
            "--keep-alive 60 and --spot contradict each other: SageMaker keeps no spot instances",
        ),
        ({"keep_alive_seconds": 3601}, ValidationError, "--keep-alive 3601 is not what SageMaker"),
        ({"keep_alive_seconds": 0}, ValidationError, "--keep-alive 0 is not what SageMaker grants"),
        ({"retries": 31}, ValidationError, "--retries 31 is not what SageMaker grants: 1 to 30"),
        ({"volume_size_gb": 0}, ValidationError, "--volume-size 0 is not what SageMaker grants: 1"),
        ({"price_dollars": 0.0}, OptionError, "--price 0 is no price"),
        ({"price_dollars": float("nan")}, OptionError, "--price nan is no price"),
        ({"kms_key": "my key"}, ValidationError, "--kms-key 'my key' cannot be a key"),
        ({"subnets": ("s-1",)}, ValidationError, "--subnet needs --security-group beside it"),
        ({"security_groups": ("s",)}, ValidationError, "--security-group needs --subnet beside it"),
        (
            {"subnets": ("a b",), "security_groups": ("sg-1",)},
            ValidationError,
            "--subnet 'a b' cannot be an id: write it as --subnet subnet-0abc",
        ),
        (
            {"subnets": ("s",), "security_groups": tuple("abcdef")},
            ValidationError,
            "6 x --security-group, of which SageMaker takes 5",
        ),
        (
            {"metrics": {f"m{i}": "(.)" for i in range(41)}},
            ValidationError,
            "41 metrics, of which SageMaker takes 40",
        ),
        ({"metrics": {"m" * 256: "(.)"}}, ValidationError, "metric 'mmm"),
        ({"metrics": {"m": "x" * 501}}, ValidationError, "metric 'm' has an expression of 501 ch"),
        ({"metrics": {"m": "("}}, ValidationError, "metric 'm': '(' is no regular expression"),
        ({"metrics": {"m": "loss"}}, ValidationError, "metric 'm': 'loss' captures no value"),
        ({"tags": {f"t{i}": "" for i in range(51)}}, ValidationError, "51 tags, of which Sage"),
        ({"tags": {"aws:x": ""}}, ValidationError, "tag 'aws:x': keys that begin with aws: are"),
        ({"tags": {"a": "x" * 257}}, ValidationError, "tag 'a': SageMaker takes 1 to 128 charac"),
        ({"tags": {"a": "b?"}}, ValidationError, "tag 'a=b?': letters, digits, spaces and"),
        (
            {"hyperparameters": {"sagemaker_region": "x"}},
            OptionError,
            "hyperparameter sagemaker_region is the launcher's own: use --region",
        ),
        (
            {"network_isolation": True, "channels": {"code": Channel("s3://bkt/c")}},
            OptionError,
            "--data code: that channel brings the job's own code",
        ),
        ({"environment": {"A": "x" * 513}}, ValidationError, "environment variable 'A' is longer"),
        ({"instance": "ml.g5.xlarg"}, SiftLaunchError, "SageMaker trains on no instance 'ml.g5.x"),
    ],
)  # fmt: skip
def test_what_cannot_be_in_sagemaker_is_refused(
    change: dict[str, Any], error: type[SiftLaunchError], told: str
):
    with pytest.raises(error) as caught:
        plan(replace(SPEC, **change), here())
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize("metric", ["loss: ([0-9.]+)", "(?P<v>x)", "a(b)(c)"])
def test_a_metric_that_captures_is_taken(metric: str):
    check(replace(SPEC, metrics={"m": metric}))
