"""A thousand jobs to be listed: of this machine, and in SageMaker."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from benchmarks.launch_server import ACCOUNT, REGION, Server
from sift_launcher.local.records import JobRecords
from sift_launcher.local.status import created, ended

JOBS = 1000


def jobs_here(home: Path) -> dict[str, str]:
    """The environment of a user with so many jobs that have ended."""
    records = JobRecords(home)
    for number in range(JOBS):
        began = time.time() - number
        name = f"job-{number}"
        settings = {"StopSeconds": 120.0, "TrainingJobArn": f"arn:aws:sagemaker:local::{name}"}
        record, lock = records.create(name, _request(name, "process"), settings, created(began))
        record.write_status(ended(created(began), "Completed", began + 60))
        os.close(lock)
    return os.environ | {"SIFT_LAUNCHER_HOME": str(home)}


def jobs_in_the_cloud(home: Path, server: Server) -> dict[str, str]:
    """The environment of a user who launched so many jobs, none of which was seen to have ended."""
    from sift_launcher.catalogue import CloudEntry, remember

    before = os.environ.get("SIFT_LAUNCHER_HOME")
    os.environ["SIFT_LAUNCHER_HOME"] = str(home)
    sagemaker = server.client("sagemaker")
    endpoint = server.environment["AWS_ENDPOINT_URL"]
    for number in range(JOBS):
        name = f"listed-{number}"
        arn = sagemaker.create_training_job(**_request(name, "ml.m5.xlarge"))["TrainingJobArn"]
        server.accepted()
        entry = CloudEntry(name, arn, REGION, "ml.m5.xlarge", 1, time.time(), endpoint=endpoint)
        remember(entry)
    if before is None:
        del os.environ["SIFT_LAUNCHER_HOME"]
    else:
        os.environ["SIFT_LAUNCHER_HOME"] = before
    return os.environ | server.environment | {"SIFT_LAUNCHER_HOME": str(home)}


def _request(name: str, instance: str) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": "own:1", "TrainingInputMode": "File"},
        "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/SageMakerRole",
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/"},
        "ResourceConfig": {"InstanceType": instance, "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
    }
