"""Clients that know nothing of us, led to a rehearsal by its environment alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rehearsed_aws import BUCKET, PATIENCE_SECONDS, ROLE


@pytest.fixture
def run(rehearsed, tmp_path: Path):
    """Runs a command in the environment that `sift-launch rehearsal env` gives a shell."""
    ours = {"SIFT_LAUNCHER_HOME": str(rehearsed.state), "AWS_PROFILE": "somebody"}
    shown = subprocess.run(
        [sys.executable, "-m", "sift_launcher", "rehearsal", "env"],
        env=dict(os.environ) | ours,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    def run(*command: str) -> str:
        result = subprocess.run(
            ["bash", "-c", f'{shown}\nexec "$@"', "bash", *command],
            cwd=tmp_path,
            env=dict(os.environ) | ours,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_SECONDS,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


@pytest.fixture
def aws_command(run):
    beside = str(Path(sys.executable).parent)
    command = shutil.which("aws", path=os.pathsep.join([beside, os.environ["PATH"]]))
    assert command, "AWS's own command is not installed: pip install awscli"
    return lambda *words: run(command, *words, "--output", "json")


def test_awss_own_command_lists_describes_and_reads_a_job(rehearsed, aws_command):
    rehearsed.start("by-hand", "print('hello')")
    rehearsed.ended("by-hand")

    def told(*words: str) -> dict[str, Any]:
        return json.loads(aws_command(*words))

    (job,) = told("sagemaker", "list-training-jobs", "--name-contains", "by-hand")[
        "TrainingJobSummaries"
    ]
    assert (job["TrainingJobName"], job["TrainingJobStatus"]) == ("by-hand", "Completed")
    job = told("sagemaker", "describe-training-job", "--training-job-name", "by-hand")
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == (
        f"s3://{BUCKET}/by-hand/output/model.tar.gz"
    )
    group = "--log-group-name=/aws/sagemaker/TrainingJobs"
    (stream,) = told("logs", "describe-log-streams", group, "--log-stream-name-prefix=by-hand/")[
        "logStreams"
    ]
    name = stream["logStreamName"]
    events = told("logs", "get-log-events", group, f"--log-stream-name={name}")
    assert [event["message"] for event in events["events"]] == ["hello"]
    identity = told("sts", "get-caller-identity")
    assert identity["Arn"] == "arn:aws:sts::123456789012:assumed-role/SageMakerRole/rehearsal"


ESTIMATOR = f"""
import time
import types

import sagemaker.session
from sagemaker.pytorch import PyTorch

# The SDK asks every ten seconds, and for the status every thirty: here they pass faster.
sagemaker.session.time = types.SimpleNamespace(
    time=lambda: 50 * time.time(), sleep=lambda seconds: time.sleep(seconds / 50)
)
estimator = PyTorch(
    entry_point="train.py",
    source_dir="source",
    role="{ROLE}",
    image_uri="763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8",
    instance_type="ml.m5.large",
    instance_count=1,
    hyperparameters={{"epochs": 3}},
    metric_definitions=[{{"Name": "loss", "Regex": "loss=(.*)"}}],
)
estimator.fit(job_name="estimated")
print("model:", estimator.model_data)
"""


def test_the_plain_sdks_estimator_trains_and_shows_the_log(rehearsed, run, tmp_path: Path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/train.py").write_text("import sys; print('argv', sys.argv[1:], 'loss=0.5')")
    (tmp_path / "fit.py").write_text(ESTIMATOR)
    shown = run(sys.executable, "fit.py")
    assert "argv ['--epochs', '3'] loss=0.5" in shown
    assert "Training seconds: " in shown
    assert f"model: s3://{BUCKET}/estimated/output/model.tar.gz\n" in shown
    assert rehearsed.describe("estimated")["FinalMetricDataList"][0]["Value"] == 0.5
