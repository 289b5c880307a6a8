"""What tests ask of a rehearsal, as any client of AWS would."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from cli_runner import wait_until

from sift_launcher.rehearsal.endpoint import Endpoint
from sift_launcher.rehearsal.start import ensure_server, stop_server

PATIENCE_SECONDS = 240.0
BUCKET = "sagemaker-us-east-1-123456789012"
ROLE = "arn:aws:iam::123456789012:role/SageMakerRole"
GROUP = "/aws/sagemaker/TrainingJobs"


class Rehearsed:
    """A rehearsal that is being served."""

    def __init__(self, endpoint: Endpoint, state: Path) -> None:
        self.endpoint = endpoint
        self.state = state
        self._session = botocore.session.Session()
        self._clients: dict[str, Any] = {}

    def __call__(self, service: str) -> Any:
        if service not in self._clients:
            told = self.endpoint.environment
            self._clients[service] = self._session.create_client(
                service,
                region_name=told["AWS_REGION"],
                endpoint_url=told["AWS_ENDPOINT_URL"],
                aws_access_key_id=told["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=told["AWS_SECRET_ACCESS_KEY"],
                aws_session_token=told["AWS_SESSION_TOKEN"],
                # What is wrong with a request is the service's to say.
                config=Config(parameter_validation=False),
            )
        return self._clients[service]

    def request(self, name: str, script: str, **more: Any) -> dict[str, Any]:
        """The request of a job that runs `script`, whose code is in the bucket."""
        code = f"{name}/source/sourcedir.tar.gz"
        self("s3").put_object(Bucket=BUCKET, Key=code, Body=archive(script))
        hyperparameters = {
            "sagemaker_submit_directory": f"s3://{BUCKET}/{code}",
            "sagemaker_program": "train.py",
            "sagemaker_job_name": name,
            "sagemaker_region": "us-east-1",
        }
        return {
            "TrainingJobName": name,
            "AlgorithmSpecification": {
                "TrainingInputMode": "File",
                "TrainingImage": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.8",
            },
            "RoleArn": ROLE,
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/"},
            "ResourceConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": 1,
                "VolumeSizeInGB": 30,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
            "HyperParameters": {k: json.dumps(v) for k, v in hyperparameters.items()},
        } | more

    def start(self, name: str, script: str, **more: Any) -> str:
        return self("sagemaker").create_training_job(**self.request(name, script, **more))[
            "TrainingJobArn"
        ]

    def describe(self, name: str) -> dict[str, Any]:
        job: dict[str, Any] = self("sagemaker").describe_training_job(TrainingJobName=name)
        del job["ResponseMetadata"]
        return job

    def ended(self, name: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            job = self.describe(name)
            return job if job["TrainingJobStatus"] not in ("InProgress", "Stopping") else None

        return wait_until(look, PATIENCE_SECONDS)

    def streams(self, name: str) -> dict[str, list[str]]:
        """The job's log as CloudWatch has it now."""
        pages = self("logs").get_paginator("describe_log_streams")
        try:
            names = [
                stream["logStreamName"]
                for page in pages.paginate(logGroupName=GROUP, logStreamNamePrefix=f"{name}/")
                for stream in page["logStreams"]
            ]
        except self("logs").exceptions.ResourceNotFoundException:
            return {}  # nobody has printed anything yet
        return {stream: self._lines(stream) for stream in names}

    def log(self, name: str) -> list[str]:
        return [line for lines in self.streams(name).values() for line in lines]

    def has_printed(self, name: str, line: str) -> Callable[[], bool]:
        """To wait for: whether the job's log file holds that line."""
        file = self.state / "rehearsal/home/jobs" / name / "logs/algo-1.log"
        return lambda: file.exists() and f"{line}\n" in file.read_text()

    def _lines(self, stream: str) -> list[str]:
        lines: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = self("logs").get_log_events(
                logGroupName=GROUP, logStreamName=stream, startFromHead=True, **token
            )
            if page["nextForwardToken"] == token.get("nextToken"):
                return lines
            token = {"nextToken": page["nextForwardToken"]}
            lines += [event["message"] for event in page["events"]]


@contextmanager
def rehearsal(state: Path) -> Iterator[Rehearsed]:
    """A server in the background whose state folder is `state`."""
    ours = {"SIFT_LAUNCHER_HOME": str(state), "SIFT_LAUNCHER_STOP_SECONDS": "5"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ours.items():
            patch.setenv(name, value)
        endpoint = ensure_server()
    yield Rehearsed(endpoint, state)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ours.items():
            patch.setenv(name, value)
        stop_server()


def archive(script: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        member = tarfile.TarInfo("train.py")
        member.size = len(script.encode())
        tar.addfile(member, io.BytesIO(script.encode()))
    return content.getvalue()
