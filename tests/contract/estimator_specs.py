"""Jobs in SageMaker as they are asked for, twice: as options of the command, and as arguments of
the estimator that mean the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sift_launcher.cloud.facts import Upload
from sift_launcher.job_spec import Channel
from smart_sifting.sift_config.job_config import SiftConfig

CPU_IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker"
GPU_IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cu133-amzn2023-sagemaker"
PLAIN_IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/own:1"
UPLOAD = "s3://sagemaker-us-east-1-123456789012/sift-data/0123456789abcdef/"
DAY = 86400


@dataclass(frozen=True)
class Asked:
    """One job. Both sides get its name, its instance and its role."""

    spec: dict[str, Any] = field(default_factory=dict)
    estimator: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] | None = None
    """Of `fit`: by channel an address, or the arguments of a `TrainingInput`."""

    cloud: dict[str, Any] = field(default_factory=dict)
    """What of the account is other than usual."""

    kind: str = "toolkit"
    """Of the image; the command alone looks into it."""


JOBS: dict[str, Asked] = {
    "plain": Asked({"sift_config": None}, {"sift_config": None}),
    "sifted": Asked(),
    "with options of sifting": Asked(
        {"sift_config": SiftConfig(keep=0.25, sift_delay=50, seed=3)},
        {"sift_config": {"beta_value": 3, "sift_delay": 50, "seed": 3}},
    ),
    "on a CPU": Asked(
        {"instance": "ml.m5.xlarge", "image": "stock"}, {"instance_type": "ml.m5.xlarge"}
    ),
    "with hyperparameters": Asked(
        {"hyperparameters": {"epochs": 3, "net": "cnn", "lr": 1e-3, "amp": True, "from": None}},
        {"hyperparameters": {"epochs": 3, "net": "cnn", "lr": 1e-3, "amp": True, "from": None}},
    ),
    "with arguments": Asked(
        {"arguments": ("--lr", "1 e", '"'), "sift_config": None},
        {"arguments": ["--lr", "1 e", '"'], "sift_config": None},
    ),
    "of two hosts": Asked(
        {"count": 2, "distribution": "torchrun"},
        {"instance_count": 2, "distribution": {"torch_distributed": {"enabled": True}}},
    ),
    "of two hosts that are apart": Asked(
        {"count": 2, "distribution": "none"}, {"instance_count": 2}
    ),
    "with data": Asked(
        {
            "channels": {
                "train": Channel("s3://own-bucket/train", sharded=True),
                "test": Channel("s3://own-bucket/test", input_mode="FastFile"),
                "local": Channel("/data"),
            }
        },
        inputs={
            "train": {"s3_data": "s3://own-bucket/train", "distribution": "ShardedByS3Key"},
            "test": {"s3_data": "s3://own-bucket/test", "input_mode": "FastFile"},
            "local": UPLOAD,
        },
        cloud={"uploads": (Upload("local", "/data", UPLOAD, ()),)},
    ),
    "with all data streamed": Asked(
        {"input_mode": "FastFile", "channels": {"train": Channel("s3://own-bucket/train")}},
        {"input_mode": "FastFile"},
        inputs={"train": "s3://own-bucket/train"},
    ),
    "on spot instances": Asked(
        {"spot": True, "max_run_seconds": 3600},
        {
            "use_spot_instances": True,
            "max_run": 3600,
            "max_wait": 3600 + DAY,
            "checkpoint_s3_uri": "s3://sagemaker-us-east-1-123456789012/digits/checkpoints",
        },
    ),
    "on spot instances with all said": Asked(
        {
            "spot": True,
            "max_run_seconds": 3600,
            "max_wait_seconds": 7200,
            "checkpoint": "s3://own-bucket/checkpoints",
        },
        {
            "use_spot_instances": True,
            "max_run": 3600,
            "max_wait": 7200,
            "checkpoint_s3_uri": "s3://own-bucket/checkpoints",
        },
    ),
    "with an output of its own, under a key": Asked(
        {"output": "s3://own-bucket/jobs", "kms_key": "alias/own"},
        {"output_path": "s3://own-bucket/jobs", "output_kms_key": "alias/own"},
    ),
    "that is watched and labelled": Asked(
        {"metrics": {"loss": "loss ([0-9.]+)"}, "tags": {"team": "vision", "of": ""}},
        {
            "metric_definitions": [{"Name": "loss", "Regex": "loss ([0-9.]+)"}],
            "tags": [{"Key": "team", "Value": "vision"}, {"Key": "of", "Value": ""}],
        },
    ),
    "in a network of its own": Asked(
        {"subnets": ("subnet-1", "subnet-2"), "security_groups": ("sg-1",)},
        {"subnets": ["subnet-1", "subnet-2"], "security_group_ids": ["sg-1"]},
    ),
    "that reaches no network": Asked(
        {"network_isolation": True, "channels": {"train": Channel("s3://own-bucket/train")}},
        {"enable_network_isolation": True},
        inputs={"train": "s3://own-bucket/train"},
    ),
    "with variables": Asked(
        {"environment": {"OMP_NUM_THREADS": "1", "PYTHONPATH": "/opt/own"}},
        {"environment": {"OMP_NUM_THREADS": "1", "PYTHONPATH": "/opt/own"}},
    ),
    "with large and warm instances, tried again": Asked(
        {"volume_size_gb": 200, "keep_alive_seconds": 600, "retries": 2},
        {"volume_size": 200, "keep_alive_period_in_seconds": 600, "max_retry_attempts": 2},
    ),
    "in an image that knows nothing of us": Asked(
        {"image": PLAIN_IMAGE, "channels": {"train": Channel("s3://own-bucket/train")}},
        kind="plain",
    ),
}
