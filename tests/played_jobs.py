"""Jobs written for SageMaker, played on this machine, with everything they have in S3."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from aws_stand_in import ROLE, StandInAws
from cli_runner import wait_until

from sift_launcher.errors import JobHasEnded
from sift_launcher.local.service import LocalTrainingService
from sift_launcher.local.stand_in import StandIn

BUCKET = "bucket"
PATIENCE_SECONDS = 240.0


class PlayedJobs:
    """The service of one state folder, and the bucket its jobs live in."""

    def __init__(self, home: Path, aws: StandInAws, **stand_in: Any) -> None:
        self.s3 = aws.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        self.stand_in = StandIn(
            **{"runs": "process", "python": sys.executable, "endpoint": aws.endpoint}
            | {"environment": aws.environment, "notice_seconds": PATIENCE_SECONDS}
            | stand_in
        )
        self._home = home
        self._started: list[str] = []
        self.service = LocalTrainingService(home, stop_seconds=PATIENCE_SECONDS)

    def start(
        self,
        script: str,
        *,
        name: str = "job",
        at: tuple[str, ...] = (),
        played: Mapping[str, Any] | None = None,
        spot: bool = True,
        count: int = 1,
        channels: Mapping[str, Mapping[str, str]] | None = None,
        max_run: int = 100,
        max_wait: int = 200,
        **more: Any,
    ) -> None:
        """`at`: when to interrupt it. `played`: what else of the stand-in is different."""
        place = f"s3://{BUCKET}/{name}"
        self.put(f"{name}/source/sourcedir.tar.gz", _packed(script))
        request = {
            "TrainingJobName": name,
            "AlgorithmSpecification": {"TrainingImage": "sift:1", "TrainingInputMode": "File"},
            "RoleArn": ROLE,
            "HyperParameters": {
                "sagemaker_program": '"train.py"',
                "sagemaker_submit_directory": json.dumps(f"{place}/source/sourcedir.tar.gz"),
            },
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/"},
            "CheckpointConfig": {"S3Uri": f"{place}/checkpoints"},
            "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": count},
            "StoppingCondition": {"MaxRuntimeInSeconds": max_run},
        }
        if spot:
            request["EnableManagedSpotTraining"] = True
            request["StoppingCondition"]["MaxWaitTimeInSeconds"] = max_wait
        if channels:
            request["InputDataConfig"] = [
                {"ChannelName": each, "DataSource": {"S3DataSource": dict(source)}}
                for each, source in channels.items()
            ]
        stand_in = replace(self.stand_in, interruptions=at, **(played or {}))
        service = LocalTrainingService(self._home, stop_seconds=PATIENCE_SECONDS, stand_in=stand_in)
        service.create_training_job(**request | more)
        self._started.append(name)

    def run(self, script: str, **options: Any) -> dict[str, Any]:
        self.start(script, **options)
        return self.ended(options.get("name", "job"))

    def ended(self, name: str = "job") -> dict[str, Any]:
        """The description of the job, once it has ended."""
        return wait_until(lambda: self._ended(name), PATIENCE_SECONDS)

    def prints(self, text: str, name: str = "job") -> None:
        """Waits until the first host has printed `text`."""
        wait_until(lambda: text in self.log(name) or self._ended(name), PATIENCE_SECONDS)
        assert text in self.log(name)

    def enters(self, status: str, name: str = "job") -> None:
        """Waits until the job has gone over to `status`."""
        wait_until(lambda: status in self.statuses(name), PATIENCE_SECONDS)

    def waits_for(self, key: str) -> None:
        """Waits until the object is there."""
        wait_until(lambda: key in self.keys(), PATIENCE_SECONDS)

    def statuses(self, name: str = "job") -> list[str]:
        transitions = self.service.status(name)["SecondaryStatusTransitions"]
        return [each["Status"] for each in transitions]

    def log(self, name: str = "job", host: str = "algo-1") -> str:
        path = self.service.record(name).logs / f"{host}.log"
        return path.read_text() if path.exists() else ""

    def put(self, key: str, content: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=content)

    def got(self, key: str) -> bytes:
        content: bytes = self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return content

    def keys(self, prefix: str = "") -> list[str]:
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return [each["Key"] for each in found]

    def packed(self, archive: str = "model.tar.gz", name: str = "job") -> dict[str, str]:
        """The files of an archive by name."""
        content = io.BytesIO(self.got(f"{name}/output/{archive}"))
        with tarfile.open(fileobj=content) as tar:
            return {
                member.name: tar.extractfile(member).read().decode()  # type: ignore[union-attr]
                for member in tar
                if member.isfile()
            }

    def end(self) -> None:
        for name in self._started:
            with suppress(JobHasEnded):
                self.service.kill_training_job(TrainingJobName=name)
            self.ended(name)

    def _ended(self, name: str) -> dict[str, Any] | None:
        job = self.service.describe_training_job(TrainingJobName=name)
        return job if "TrainingEndTime" in job else None


def _packed(script: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        info = tarfile.TarInfo("train.py")
        info.size = len(script.encode())
        tar.addfile(info, io.BytesIO(script.encode()))
    return packed.getvalue()
