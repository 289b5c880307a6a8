"""The commands about jobs, of jobs in the cloud: SageMaker is played, S3 and logs are moto's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_stand_in import StandInAws
from botocore.exceptions import EndpointConnectionError
from played_sagemaker import (
    BEGAN,
    BUCKET,
    PlayedClients,
    PlayedSageMaker,
    Prints,
    described,
    ended,
    entry,
    refusal,
)

from sift_launcher import catalogue
from sift_launcher.catalogue import CloudEntry
from sift_launcher.cloud import job as cloud_job
from sift_launcher.cloud import listing
from sift_launcher.errors import ResourceNotFound
from sift_launcher.jobs import find_job

LOST = EndpointConnectionError(endpoint_url="https://api.sagemaker.us-east-1.amazonaws.com")


class Cloud:
    """What AWS is for the commands of a test."""

    def __init__(self, aws: StandInAws) -> None:
        self._aws = aws
        self.sagemaker = PlayedSageMaker(described("Training"))
        self.asked: list[CloudEntry] = []

    def clients_of(self, entry: CloudEntry, **settings: Any) -> PlayedClients:
        self.asked.append(entry)
        return PlayedClients(self._aws, self.sagemaker)


@pytest.fixture
def cloud(aws: StandInAws, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    played = Cloud(aws)
    for module in (cloud_job, listing):
        monkeypatch.setattr(module, "clients_of", played.clients_of)
    aws.client("s3").create_bucket(Bucket=BUCKET)
    return played


@pytest.fixture
def prints(aws: StandInAws) -> Prints:
    return Prints(aws)


@pytest.fixture
def launched(state: Path, cloud: Cloud) -> CloudEntry:
    """The job `job`, launched from here at a dollar an hour."""
    made = entry(dollars_per_hour=1.0)
    catalogue.remember(made)
    return made


def facts(out: str) -> list[str]:
    return [" ".join(line.split()) for line in out.splitlines()]


def test_status_tells_of_a_cloud_job_what_it_tells_of_a_local_one(call, cloud, launched):
    cloud.sagemaker.go_over_to(ended())
    told = call("status", "job")
    assert told.code == 0
    lines = facts(told.out)
    assert lines[0] == "job"
    for line in (
        "status Completed (Completed)",
        "where us-east-1, 1 x ml.g5.xlarge",
        "seconds of training 60",
        "seconds billed 45",
        "cost $0.01",
        "outputs s3://results/job/output",
    ):
        assert line in lines
    described_again = json.loads(call("status", "job", "--json").out)
    assert described_again["BillableTimeInSeconds"] == 45
    assert described_again["CreationTime"] == "2026-11-21T12:00:00+00:00"


def test_status_of_a_failed_job_has_the_reason_the_last_lines_and_the_link(
    call, cloud, launched, prints
):
    cloud.sagemaker.go_over_to(
        ended("Failed", "Failed", FailureReason="AlgorithmError: , exit code: 1")
    )
    prints("algo-1-1", *(f"line {number}" for number in range(20)), "ValueError: bad")
    lines = facts(call("status", "job").out)
    assert "reason AlgorithmError: , exit code: 1" in lines
    assert lines[-10:] == [
        "last lines line 11",
        *(f"line {number}" for number in range(12, 20)),
        "ValueError: bad",
    ]
    link = "".join(lines)
    assert "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1" in link
    assert "log-group/$252Faws$252Fsagemaker$252FTrainingJobs$3FlogStreamNameFilter$3Djob$252F" in (
        link.replace(" ", "")
    )


def test_a_stand_in_has_no_console(cloud, launched, state):
    catalogue.remember(entry(endpoint="http://127.0.0.1:1"))
    assert find_job("job").log_place() == "sift-launch logs job"


def test_logs_prints_all_there_is(call, cloud, launched, prints):
    prints("algo-1-1", "one", "two")
    told = call("logs", "job")
    assert (told.code, told.out, told.err) == (0, "one\ntwo\n", "")


def test_a_log_without_a_line_is_said_to_be_empty(call, cloud, launched):
    told = call("logs", "job")
    assert (told.code, told.out, told.err) == (0, "", "job job has printed nothing (yet)\n")


def test_a_job_that_is_stopped_while_it_is_pending_ends_the_following(call, cloud, launched):
    cloud.sagemaker.go_over_to(described("Stopped", "Stopped"))
    told = call("logs", "job", "--follow")
    assert (told.code, told.err) == (
        130,
        "job job was stopped before it trained: it has no outputs\n",
    )


@pytest.mark.parametrize(
    ("last", "code", "said"),
    [
        (ended(), 0, "job job completed in 90.0 s ($0.01 for 45 s billed); outputs: s3://"),
        (
            ended("Failed", "Failed", FailureReason="AlgorithmError: , exit code: 1"),
            1,
            "job job failed: AlgorithmError: , exit code: 1; log: https://us-east-1.console.aws.",
        ),
        (
            ended("Failed", "Failed", FailureReason="AlgorithmError: , exit code: 137"),
            1,
            "job job failed: AlgorithmError: , exit code: 137: most likely out of memory",
        ),
        (
            described("Failed", "Failed", FailureReason="CapacityError: no ml.g5.xlarge"),
            1,
            "job job failed: CapacityError: no ml.g5.xlarge: AWS has no such instance free now",
        ),
        (
            ended("MaxRuntimeExceeded", "Stopped"),
            1,
            "job job was stopped after its --max-run of 3600 s; its outputs are in s3://results/",
        ),
        (
            ended("MaxWaitTimeExceeded", "Stopped"),
            1,
            "job job was stopped after its --max-wait of 7200 s",
        ),
        (ended("Stopped", "Stopped"), 130, "job job was stopped; its outputs are in s3://results/"),
    ],
    ids=["completed", "1", "137", "capacity", "max-run", "max-wait", "stopped"],
)
def test_following_ends_as_the_job_does(call, cloud, launched, prints, last, code, said):
    cloud.sagemaker.go_over_to(last)
    prints("algo-1-1", "one")
    told = call("logs", "job", "--follow")
    assert told.code == code
    assert told.out == "one\n"
    assert told.err.splitlines()[-1].startswith(said)
    kept = catalogue.entry("job")
    assert kept is not None
    assert kept.ended_as == last["TrainingJobStatus"]


def test_an_interruption_is_told_and_following_goes_on(call, cloud, launched, prints):
    taken = [
        {"Status": "Training", "StartTime": BEGAN},
        {"Status": "Interrupted", "StartTime": BEGAN + timedelta(seconds=40)},
    ]
    states = [
        described("Interrupted", SecondaryStatusTransitions=taken),
        described("Training", SecondaryStatusTransitions=[*taken, taken[0]]),
    ]
    cloud.sagemaker.go_over_to(*states, ended())
    prints("algo-1-1", "one")
    told = call("logs", "job", "--follow")
    assert told.code == 0
    assert told.err.splitlines()[0] == (
        "job job lost its spot instance (interruption 1); it goes on from its last checkpoint when "
        "there is another"
    )
    assert len(told.err.splitlines()) == 2


def test_stop_asks_sagemaker_even_while_the_job_is_pending(call, cloud, launched):
    cloud.sagemaker.go_over_to(described("Starting"))
    told = call("stop", "job")
    assert (told.code, told.err) == (
        0,
        "stopping job job; sift-launch status job tells when it has\n",
    )
    assert cloud.sagemaker.stops == ["job"]


def test_a_job_that_has_ended_is_not_stopped(call, cloud, launched):
    cloud.sagemaker.go_over_to(ended())

    def refuse() -> None:
        raise refusal("ValidationException", "The request was rejected: the job is Completed")

    cloud.sagemaker.on_stop = refuse
    told = call("stop", "job")
    assert (told.code, told.err) == (
        2,
        "job job is over (Completed): there is nothing to stop\n",
    )


def test_a_cloud_job_is_not_killed(call, cloud, launched):
    told = call("stop", "job", "--kill")
    assert told.code == 2
    assert told.err.startswith("--kill is for jobs of this machine: SageMaker gives a job two")
    assert cloud.sagemaker.stops == []


def test_a_job_that_aws_does_not_know_any_more_is_named(call, cloud, launched):
    cloud.sagemaker.go_over_to(refusal("ValidationException", "Requested resource not found."))
    told = call("status", "job")
    assert told.code == 2
    assert told.err.startswith("no job is named 'job' in us-east-1: sift-launch jobs --region us-")


def test_a_lack_of_permission_is_named(call, cloud, launched):
    cloud.sagemaker.go_over_to(
        refusal("AccessDeniedException", "User: arn:aws:iam::1:user/me is not authorized")
    )
    told = call("status", "job")
    assert told.code == 2
    assert f"lacks the permission sagemaker:DescribeTrainingJob on {launched.arn}" in told.err


def test_download_brings_and_unpacks_what_the_job_left(
    call, cloud, launched, aws, project, tmp_path
):
    import io
    import tarfile

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("weights.pt")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"www"))
    cloud.sagemaker.go_over_to(ended())
    aws.client("s3").put_object(
        Bucket=BUCKET, Key="job/output/model.tar.gz", Body=archive.getvalue()
    )
    told = call("download", "job", "--unpack")
    assert told.code == 0
    assert told.out.splitlines()[-1] == " unpacked  sift-output/job/output/model"
    assert (project / "sift-output/job/output/model/weights.pt").read_bytes() == b"www"
    assert call("download", "job", "--to", str(tmp_path / "there")).code == 0
    assert (tmp_path / "there/output/model.tar.gz").read_bytes() == archive.getvalue()


def test_an_archive_that_leads_outside_is_left_packed(call, cloud, launched, aws, project):
    import io
    import tarfile

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../evil"), io.BytesIO())
    cloud.sagemaker.go_over_to(ended())
    aws.client("s3").put_object(
        Bucket=BUCKET, Key="job/output/model.tar.gz", Body=archive.getvalue()
    )
    told = call("download", "job", "--unpack")
    assert told.code == 2
    assert "holds '../evil', which is no plain file below a folder" in told.err
    folder = project / "sift-output/job/output"
    assert [path.name for path in folder.iterdir()] == ["model.tar.gz"]


def row(out: str, name: str) -> list[str]:
    (line,) = [line for line in out.splitlines() if line.startswith(f"{name} ")]
    return [cell for cell in line.split("  ") if cell]


class Listed:
    """SageMaker that lists these jobs, and tells all of each."""

    def __init__(self, *jobs: dict[str, Any] | BaseException) -> None:
        self._jobs = jobs
        self.requests: list[dict[str, Any]] = []
        self.described: list[str] = []

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_training_jobs"
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        self.requests.append(request)
        for job in self._jobs:
            if isinstance(job, BaseException):
                raise job
            keys = ("TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "CreationTime")
            summary = {key: job[key] for key in keys}
            yield {"TrainingJobSummaries": [summary]}

    def describe_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:
        self.described.append(TrainingJobName)
        return next(job for job in self._jobs if job["TrainingJobName"] == TrainingJobName)


def test_jobs_lists_what_runs_where_since_when_and_what_it_cost(call, cloud, state):
    catalogue.remember(entry(name="running", count=2, dollars_per_hour=1.0))
    later = BEGAN.timestamp() + 60
    catalogue.remember(entry(name="done", created=later, dollars_per_hour=8.0))
    listed = Listed(
        ended(TrainingJobName="done", BillableTimeInSeconds=450),
        described("Training", TrainingJobName="running"),
    )
    cloud.sagemaker = listed
    told = call("jobs")
    assert told.code == 0
    assert [line.split()[0] for line in told.out.splitlines()] == [
        "job",
        "-------",
        "done",
        "running",
    ]
    done, running = row(told.out, "done"), row(told.out, "running")
    assert [cell.strip() for cell in done[1:3]] == ["Completed", "us-east-1 ml.g5.xlarge"]
    assert done[-1].strip() == "$1.00"
    assert [cell.strip() for cell in running[1:3]] == [
        "InProgress",
        "us-east-1 2 x ml.g5.xlarge",
    ]
    assert running[-1].strip().startswith("~$")
    assert len(listed.requests) == 1  # one listing for both
    assert listed.described == ["done"]
    call("jobs")
    assert listed.described == ["done"]  # how it ended is kept


def test_how_another_job_of_the_name_ended_is_not_kept_of_this_one(state, cloud):
    elsewhere = entry(arn=entry().arn.replace("us-east-1", "eu-west-1"), region="eu-west-1")
    catalogue.remember(elsewhere)
    cloud.sagemaker.go_over_to(ended())
    cloud_job.CloudJob(entry()).describe()
    assert catalogue.entry("job") == elsewhere


def test_jobs_shows_what_is_known_when_aws_is_not_reached(call, cloud, state):
    catalogue.remember(entry(name="running"))
    catalogue.remember(entry(name="done", ended_as="Failed", ended=BEGAN.timestamp() + 9))
    cloud.sagemaker = Listed(LOST)
    told = call("jobs")
    assert told.code == 0
    assert told.err.startswith("us-east-1 tells nothing of its jobs now: AWS is not reached")
    assert told.err.count("\n") == 1
    assert row(told.out, "running")[1].strip() == "unknown"
    assert [cell.strip() for cell in row(told.out, "done")[1:]][::3] == ["Failed", "9"]


def test_a_rehearsal_that_is_over_is_shown_as_such(call, state, aws):
    catalogue.remember(entry(name="played", is_rehearsal=True, endpoint="http://127.0.0.1:1"))
    told = call("jobs")
    assert (told.code, told.err) == (0, "")
    played = [cell.strip() for cell in row(told.out, "played")]
    assert played[1:3] == ["Rehearsal over", "rehearsal ml.g5.xlarge"]
    assert played[-1] == "$0.00"
    status = call("status", "played")
    assert status.code == 2
    assert status.err.startswith("the rehearsal that ran job played has ended (http://127.0.0.1:1")


def test_jobs_as_json_has_units_in_its_names(call, cloud, state):
    catalogue.remember(
        entry(ended_as="Completed", ended=BEGAN.timestamp() + 9, billable_seconds=3600,
              dollars_per_hour=1.5)
    )  # fmt: skip
    assert json.loads(call("jobs", "--json").out) == [
        {
            "TrainingJobName": "job",
            "TrainingJobArn": entry().arn,
            "TrainingJobStatus": "Completed",
            "CreationTime": "2026-11-21T12:00:00+00:00",
            "Where": "us-east-1 ml.g5.xlarge",
            "CostDollars": 1.5,
            "CostIsEstimate": False,
            "TrainingEndTime": "2026-11-21T12:00:09+00:00",
        }
    ]


def test_with_a_region_all_jobs_of_the_account_are_listed(call, state, aws):
    sagemaker = aws.client("sagemaker")
    for number in range(101):
        make_job(sagemaker, f"job-{number}")
    told = call("jobs", "--region", "us-east-1")
    assert told.code == 0
    assert len(told.out.splitlines()) == 103  # more than a page
    assert row(told.out, "job-7")[2].strip() == "us-east-1"
    limited = call("jobs", "--region", "us-east-1", "--limit", "5")
    assert len(limited.out.splitlines()) == 7


def make_job(sagemaker: Any, name: str) -> None:
    sagemaker.create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": "i", "TrainingInputMode": "File"},
        RoleArn="arn:aws:iam::123456789012:role/SageMakerRole",
        OutputDataConfig={"S3OutputPath": "s3://results/"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )


def test_a_job_launched_elsewhere_is_found_where_it_is_said_to_be(state, aws):
    make_job(aws.client("sagemaker"), "theirs")
    found = find_job("theirs", region="us-east-1")
    assert (found.where, found.describe()["TrainingJobName"]) == ("us-east-1", "theirs")
    assert find_job("theirs").where == "us-east-1"  # the environment names the region too
    with pytest.raises(ResourceNotFound, match="no job is named 'nobody' in us-east-1"):
        find_job("nobody", region="us-east-1")


def test_a_wrong_name_is_that_and_not_a_lack_of_credentials(state, monkeypatch, aws):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(ResourceNotFound) as raised:
        find_job("nobody")
    assert str(raised.value).startswith("no job is named 'nobody' on this machine, and AWS cannot")


@pytest.mark.parametrize("command", ["jobs", "status", "logs", "stop", "receipt", "download"])
def test_of_local_jobs_aws_is_not_thought_of(project: Path, command: str):
    names = [] if command == "jobs" else ["nobody"]
    environment = {name: value for name, value in os.environ.items() if name[:4] != "AWS_"}
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "from sift_launcher.cli import run\n"
            f"run({[command, *names]!r})\n"
            "heavy = {'botocore', 'boto3', 'sagemaker', 'rich', 'docker'}\n"
            "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n",
        ],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert told.returncode == 0, told.stderr
