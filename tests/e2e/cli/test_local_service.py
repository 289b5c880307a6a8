"""The service on this machine as SageMaker's client would use it: requests in, descriptions out."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from sift_launcher.errors import JobHasEnded, ResourceInUse, ResourceNotFound, ValidationError
from sift_launcher.job_spec import JobSpec
from sift_launcher.local.records import JobRecord
from sift_launcher.local.service import LocalTrainingService
from sift_launcher.local.standby import Standby
from sift_launcher.plan import Plan, plan
from sift_launcher.submit import submit
from sift_launcher.surroundings import gather


@pytest.fixture
def service(tmp_path: Path) -> LocalTrainingService:
    return LocalTrainingService(home=tmp_path / "state", stop_seconds=600)


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def make(name: str, script: str = "print('hello')", **more: Any) -> Plan:
        Path("train.py").write_text(script)
        spec = JobSpec("train.py", name=name, output="out", sift_config=None, **more)
        return plan(spec, gather(spec))

    return make


def ended(service: LocalTrainingService, name: str, until) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        job = service.describe_training_job(TrainingJobName=name)
        return job if "TrainingEndTime" in job else None

    return until(look)


def test_a_job_is_described_with_its_request_and_sagemakers_fields(service, planned, until):
    made = planned("one")
    before = datetime.now(timezone.utc)
    arn = submit(made, service)
    assert arn == "arn:aws:sagemaker:local:000000000000:training-job/one"
    job = ended(service, "one", until)
    assert {key: job[key] for key in made.request} == made.request
    assert job["TrainingJobArn"] == arn
    assert job["TrainingJobStatus"] == "Completed"
    times = [job[f"{each}Time"] for each in ("Creation", "TrainingStart", "TrainingEnd")]
    assert times == sorted(times)
    assert before - timedelta(seconds=1) < times[0] < datetime.now(timezone.utc)
    assert all(
        isinstance(each["StartTime"], datetime) for each in job["SecondaryStatusTransitions"]
    )
    assert job["BillableTimeInSeconds"] == job["TrainingTimeInSeconds"] >= 1


def test_jobs_are_listed_newest_first_and_can_be_filtered(service, planned, until):
    for name, script in (("a-1", ""), ("b-2", "raise SystemExit(1)"), ("a-3", "")):
        submit(planned(name, script), service)
        ended(service, name, until)

    def names(**filters: Any) -> list[str]:
        jobs = service.list_training_jobs(**filters)["TrainingJobSummaries"]
        return [job["TrainingJobName"] for job in jobs]

    assert names() == ["a-3", "b-2", "a-1"]
    assert names(NameContains="a-") == ["a-3", "a-1"]
    assert names(StatusEquals="Failed") == ["b-2"]
    assert names(MaxResults=2) == ["a-3", "b-2"]


def test_a_stopping_job_says_so_until_it_has_stopped(service, planned, until, tmp_path):
    script = (
        "import os, signal, sys, time\n"
        "stopped = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))\n"
        f"open({str(tmp_path / 'ready')!r}, 'w')\n"
        f"while not os.path.exists({str(tmp_path / 'go')!r}) or not stopped: time.sleep(.01)\n"
    )
    submit(planned("job", script), service)
    until((tmp_path / "ready").exists)
    until(lambda: service.status("job")["SecondaryStatus"] == "Training")
    service.stop_training_job(TrainingJobName="job")
    assert service.describe_training_job(TrainingJobName="job")["TrainingJobStatus"] == "Stopping"
    service.stop_training_job(TrainingJobName="job")
    (tmp_path / "go").touch()
    assert ended(service, "job", until)["TrainingJobStatus"] == "Stopped"
    with pytest.raises(JobHasEnded, match="job job is over"):
        service.stop_training_job(TrainingJobName="job")


class StoppedAtOnce(Standby):
    """Gets jobs that somebody has stopped already."""

    def supervise(self, record: JobRecord, lock: int) -> None:
        record.ask("stop")
        super().supervise(record, lock)


def test_a_job_stopped_before_it_began_never_runs(planned, until, tmp_path):
    service = LocalTrainingService(home=tmp_path / "state", standby=StoppedAtOnce())
    submit(planned("job", f"open({str(tmp_path / 'ran')!r}, 'w')"), service)
    assert ended(service, "job", until)["TrainingJobStatus"] == "Stopped"
    assert not (tmp_path / "ran").exists()


def test_a_job_is_killed_at_any_moment(service, planned, until):
    submit(planned("job", "import time; time.sleep(600)"), service)
    service.kill_training_job(TrainingJobName="job")
    assert ended(service, "job", until)["TrainingJobStatus"] == "Stopped"


def test_a_supervisor_that_breaks_is_named_and_takes_its_job_along(
    planned, until, tmp_path, processes_below
):
    service = LocalTrainingService(home=tmp_path / "state", stop_seconds="soon")  # type: ignore
    submit(planned("job", "import time; time.sleep(600)"), service)
    job = ended(service, "job", until)
    assert job["TrainingJobStatus"] == "Failed"
    assert "is gone without a result: ValueError: could not convert" in job["FailureReason"]
    assert job["TrainingStartTime"]
    assert not processes_below(service.record("job").hosts / "algo-1")


def test_an_import_that_fails_in_the_supervisor_is_the_jobs_reason(
    planned, service, until, tmp_path, monkeypatch
):
    (tmp_path / "tarfile.py").write_text("raise ImportError('not today')")
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    monkeypatch.setenv("PYTHONPATH", path)
    submit(planned("job", "print(1)"), service)
    assert "ImportError: not today" in ended(service, "job", until)["FailureReason"]


def test_a_job_is_not_the_child_of_whoever_started_it(service, planned, until):
    submit(planned("job", "import time; time.sleep(600)"), service)
    pid = until(service.record("job").pid)
    parent = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]
    service.kill_training_job(TrainingJobName="job")
    ended(service, "job", until)
    assert int(parent) != os.getpid()


def test_the_same_name_twice(service, planned, until):
    made = planned("job")
    submit(made, service)
    with pytest.raises(ResourceInUse):
        service.create_training_job(**made.request)
    ended(service, "job", until)


def test_no_such_job(service):
    for call in (service.describe_training_job, service.stop_training_job):
        with pytest.raises(ResourceNotFound, match="no job is named 'nobody'"):
            call(TrainingJobName="nobody")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"TrainingJobName": "a_b"}, "'a_b' cannot be a job's name"),
        ({"TrainingJobName": None}, "the request lacks TrainingJobName"),
        ({"ResourceConfig": {"InstanceCount": 1}}, "lacks ResourceConfig.InstanceType"),
        ({"StoppingCondition": None}, "the request lacks StoppingCondition"),
        (
            {"ResourceConfig": {"InstanceCount": 2, "InstanceType": "process"}},
            "2 x process cannot be served here: this machine runs 1 x process",
        ),
        (
            {"ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large"}},
            "1 x ml.m5.large cannot be served here",
        ),
        ({"AlgorithmSpecification": {"TrainingImage": "pytorch:2.8"}}, "not pytorch:2.8"),
        ({"OutputDataConfig": {"S3OutputPath": "s3://b"}}, "writes to file:// .*, not to s3://b"),
        ({"HyperParameters": {"a": "x" * 2501}}, "hyperparameter 'a' is 2501 characters"),
        (
            {"HyperParameters": {"sagemaker_submit_directory": '"https://b/code.tar.gz"'}},
            "sagemaker_submit_directory is at https://b/code.tar.gz",
        ),
        (
            {"HyperParameters": {"sagemaker_submit_directory": "file:///nowhere/code.tar.gz"}},
            "sagemaker_submit_directory: /nowhere/code.tar.gz does not exist",
        ),
        ({"EnableManagedSpotTraining": True}, "this machine is no spot instance"),
        ({"RetryStrategy": {"MaximumRetryAttempts": 0}}, "MaximumRetryAttempts 0: 1 to 30"),
        (
            {"OutputDataConfig": {"S3OutputPath": "file:///out", "CompressionType": "NONE"}},
            "packs its model with GZIP",
        ),
        ({"CheckpointConfig": {"S3Uri": "s3://b"}}, "keeps checkpoints at file:// .*, not at s3"),
        (
            {"CheckpointConfig": {"S3Uri": "file:///kept", "LocalPath": "/checkpoints"}},
            "a process has no /checkpoints of its own",
        ),
        (
            {"ResourceConfig": {"InstanceCount": 0, "InstanceType": "local"}},
            "0 x local cannot be served here",
        ),
        (
            {"ResourceConfig": {"InstanceCount": 1, "InstanceType": "local"}},
            "is an interpreter: local runs an image, by name",
        ),
        (
            {
                "InputDataConfig": [
                    {
                        "ChannelName": "train",
                        "DataSource": {"FileDataSource": {"FileUri": "file:///nowhere"}},
                    }
                ]
            },
            "channel train: /nowhere does not exist",
        ),
        (
            {
                "InputDataConfig": [
                    {
                        "ChannelName": "train",
                        "InputMode": "Pipe",
                        "DataSource": {"S3DataSource": {"S3Uri": "s3://b/x"}},
                    }
                ]
            },
            "channel train: InputMode Pipe is not served on this machine, File and FastFile are",
        ),
        (
            {
                "InputDataConfig": [
                    {
                        "ChannelName": "train",
                        "DataSource": {"FileDataSource": {"FileUri": "https://host/x"}},
                    }
                ]
            },
            "channel train is at https://host/x: .* reads file:// and s3:// addresses",
        ),
    ],
)
def test_a_request_that_cannot_be_served_leaves_no_record(service, tmp_path, change, told):
    request = {
        "TrainingJobName": "job",
        "AlgorithmSpecification": {"TrainingImage": f"file://{sys.executable}"},
        "OutputDataConfig": {"S3OutputPath": "file:///out"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "process"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    } | change
    request = {key: value for key, value in request.items() if value is not None}
    with pytest.raises(ValidationError, match=told):
        service.create_training_job(**json.loads(json.dumps(request)))
    assert not (tmp_path / "state").exists()
