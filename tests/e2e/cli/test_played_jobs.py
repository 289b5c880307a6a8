"""SageMaker's own requests on this machine: places in S3, ends, and FailureReasons."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from played_jobs import PlayedJobs

from sift_launcher.errors import ValidationError
from sift_launcher.local.service import LocalTrainingService


@pytest.fixture
def jobs(tmp_path: Path, aws) -> Iterator[PlayedJobs]:
    jobs = PlayedJobs(tmp_path / "state", aws)
    yield jobs
    jobs.end()


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes every request and answers none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


TRAIN = """
import json, os
from pathlib import Path
data = Path(os.environ["SM_CHANNEL_TRAIN"])
print(sorted(str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()))
base = data.parents[2]
resources = json.loads((base / "input/config/resourceconfig.json").read_text())
print(resources["current_instance_type"], os.environ["SM_CURRENT_INSTANCE_TYPE"])
print((base / "checkpoints/before").read_text())
(base / "checkpoints/after").write_text("new")
(base / "model/weights").write_text("trained")
(base / "output/data/receipt.json").write_text("{}")
Path("beside.txt").write_text("lost, as in the cloud")
"""


def test_a_job_lives_in_s3_from_its_code_to_its_model(jobs: PlayedJobs, tmp_path: Path):
    for name in ("data/a", "data/sub/b"):
        jobs.put(name, b"x")
    jobs.put("job/checkpoints/before", b"kept")
    job = jobs.run(TRAIN, spot=False, channels={"train": {"S3Uri": "s3://bucket/data"}})
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert jobs.log() == "['a', 'sub/b']\nml.g5.xlarge ml.g5.xlarge\nkept\n"
    assert job["ModelArtifacts"] == {"S3ModelArtifacts": "s3://bucket/job/output/model.tar.gz"}
    assert job["TrainingJobArn"] == "arn:aws:sagemaker:us-east-1:123456789012:training-job/job"
    assert jobs.packed() == {"weights": "trained"}
    assert jobs.packed("output.tar.gz") == {"receipt.json": "{}"}
    assert jobs.keys("job/") == [
        "job/checkpoints/after",
        "job/checkpoints/before",
        "job/output/model.tar.gz",
        "job/output/output.tar.gz",
        "job/source/sourcedir.tar.gz",
    ]
    assert jobs.got("job/checkpoints/after") == b"new"
    assert jobs.statuses() == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    kept = {path.name for path in jobs.service.record("job").folder.iterdir()}
    assert kept & {"hosts", "inputs", "output"} == set()


def test_code_may_come_as_a_channel_as_in_isolated_jobs(jobs: PlayedJobs):
    parameters = {
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": '"/opt/ml/input/data/code/sourcedir.tar.gz"',
    }
    source = {"S3Uri": "s3://bucket/job/source/sourcedir.tar.gz", "S3DataType": "S3Prefix"}
    job = jobs.run(
        "print('here')", channels={"code": source}, spot=False, HyperParameters=parameters
    )
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert jobs.log() == "here\n"


def test_a_channel_shows_its_own_input_mode(jobs: PlayedJobs):
    jobs.put("data/a", b"x")
    source = {"S3DataSource": {"S3Uri": "s3://bucket/data/", "S3DataType": "S3Prefix"}}
    channels = [
        {"ChannelName": "fast", "DataSource": source, "InputMode": "FastFile"},
        {"ChannelName": "plain", "DataSource": source},
    ]
    script = (
        "import json, os, pathlib\n"
        "channels = json.loads(os.environ['SM_INPUT_DATA_CONFIG'])\n"
        "print({name: each['TrainingInputMode'] for name, each in channels.items()})\n"
        "print(os.listdir(os.environ['SM_CHANNEL_FAST']))\n"
    )
    jobs.run(script, spot=False, InputDataConfig=channels)
    assert jobs.log() == "{'fast': 'FastFile', 'plain': 'File'}\n['a']\n"


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        (
            "s3://bucket/gone",
            "ClientError: Data download failed: channel train: there is nothing at s3://bucket/gone",
        ),
        (
            "s3://no-such-bucket/x",
            "ClientError: Data download failed: s3://no-such-bucket/x: there is no such bucket",
        ),
    ],
)
def test_data_that_is_not_there_any_more_fails_the_job_while_it_downloads(jobs, uri, told):
    job = jobs.run("print(1)", spot=False, channels={"train": {"S3Uri": uri}})
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith(told)
    assert jobs.statuses() == ["Starting", "Downloading", "Failed"]


def test_code_that_is_not_there_any_more_fails_the_job(jobs: PlayedJobs):
    parameters = {
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": '"s3://bucket/gone.tar.gz"',
    }
    job = jobs.run("print(1)", spot=False, HyperParameters=parameters)
    assert job["FailureReason"].startswith(
        "ClientError: Data download failed: s3://bucket/gone.tar.gz: there is no such object"
    )


def test_a_script_that_fails_is_an_algorithm_error_and_its_outputs_are_kept(jobs: PlayedJobs):
    script = "open('/'.join([__import__('os').environ['SM_MODEL_DIR'], 'half']), 'w').write('x')\n"
    job = jobs.run(script + "raise ValueError('bad sample 17')", spot=False)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith(
        "AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "
        '"ValueError: bad sample 17\nexit code 1\n'
    )
    assert job["FailureReason"].endswith('", exit code: 1')
    assert jobs.packed() == {"half": "x"}


def test_a_job_that_is_stopped_while_it_downloads_stops_at_once(jobs: PlayedJobs, silent: str):
    jobs.start("print(1)", spot=False, played={"endpoint": silent})
    jobs.enters("Downloading")
    jobs.service.stop_training_job(TrainingJobName="job")
    job = jobs.ended()
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert jobs.statuses() == ["Starting", "Downloading", "Stopping", "Stopped"]
    assert "ModelArtifacts" not in job


def test_a_download_counts_against_the_longest_run_time(jobs: PlayedJobs, silent: str):
    job = jobs.run("print(1)", spot=False, max_run=1, played={"endpoint": silent})
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_the_services_own_errors_are_retried_as_often_as_the_request_says(
    jobs: PlayedJobs, tmp_path: Path
):
    job = jobs.run(
        "print(1)",
        spot=False,
        played={"python": str(tmp_path / "gone")},
        RetryStrategy={"MaximumRetryAttempts": 2},
    )
    assert jobs.statuses() == ["Starting", "Downloading"] * 3 + ["Failed"]
    assert job["FailureReason"].startswith("InternalServerError: We encountered an internal error.")


def test_a_scripts_own_errors_are_not_retried(jobs: PlayedJobs):
    jobs.run("1 / 0", spot=False, RetryStrategy={"MaximumRetryAttempts": 2})
    assert jobs.statuses() == ["Starting", "Downloading", "Training", "Uploading", "Failed"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"count": 2}, r"2 x ml\.g5\.xlarge cannot be played by processes.*--rehearse-on local"),
        ({"at": ("later",)}, "'later' is no moment to interrupt a job"),
        ({"HyperParameters": {}}, "names no script .*--rehearse-on local"),
        (
            {"CheckpointConfig": {"S3Uri": "s3://b", "LocalPath": "/kept"}},
            "a process has no /kept of its own",
        ),
    ],
)
def test_what_cannot_be_played_is_refused(jobs: PlayedJobs, options: dict[str, Any], told: str):
    with pytest.raises(ValidationError, match=told):
        jobs.start("print(1)", **options)


def test_a_job_of_this_machine_may_have_its_data_in_s3(jobs: PlayedJobs, tmp_path: Path):
    jobs.put("data/a", b"x")
    jobs.start("import os; print(os.listdir(os.environ['SM_CHANNEL_TRAIN']))", name="packed")
    jobs.ended("packed")
    archive = tmp_path / "code.tar.gz"
    archive.write_bytes(jobs.got("packed/source/sourcedir.tar.gz"))
    LocalTrainingService(tmp_path / "state").create_training_job(
        TrainingJobName="job",
        AlgorithmSpecification={"TrainingImage": f"file://{jobs.stand_in.python}"},
        HyperParameters={
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": json.dumps(f"file://{archive}"),
        },
        InputDataConfig=[
            {
                "ChannelName": "train",
                "DataSource": {"S3DataSource": {"S3Uri": "s3://bucket/data"}},
            }
        ],
        OutputDataConfig={"S3OutputPath": f"file://{tmp_path}/out"},
        ResourceConfig={"InstanceType": "process", "InstanceCount": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )
    assert jobs.ended()["TrainingJobStatus"] == "Completed"
    assert jobs.log() == "['a']\n"
    assert (tmp_path / "out" / "job" / "output" / "model.tar.gz").exists()
