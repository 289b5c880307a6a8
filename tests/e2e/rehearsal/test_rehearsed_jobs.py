"""SageMaker's training jobs as botocore's client finds them in a rehearsal: they really run."""

from __future__ import annotations

import io
import tarfile
from datetime import datetime, timezone

import pytest
from cli_runner import POLITE, long_enough, wait_until
from rehearsed_aws import BUCKET, PATIENCE_SECONDS

ARN = "arn:aws:sagemaker:us-east-1:123456789012:training-job/"


def test_a_job_runs_and_is_described_as_in_the_service(rehearsed):
    script = """
import os
print("arn", os.environ["TRAINING_JOB_ARN"])
print("loss=0.5")
open(os.path.join(os.environ["SM_MODEL_DIR"], "weights"), "w").write("w")
print("loss=0.25", end="")
"""
    spec = {
        "TrainingImage": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.8",
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "train:loss", "Regex": "loss=([0-9.]+)"}],
    }
    request = rehearsed.request("described", script, AlgorithmSpecification=spec)
    assert rehearsed("sagemaker").create_training_job(**request)["TrainingJobArn"] == (
        ARN + "described"
    )
    job = rehearsed.ended("described")
    assert {key: job[key] for key in request} == request
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Completed"
    assert job["TrainingJobArn"] == ARN + "described"
    assert [each["Status"] for each in job["SecondaryStatusTransitions"]] == [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    assert all(isinstance(job[f"{name}Time"], datetime) for name in ("Creation", "TrainingEnd"))
    assert 1 <= job["BillableTimeInSeconds"] <= job["TrainingTimeInSeconds"] <= PATIENCE_SECONDS
    (metric,) = job["FinalMetricDataList"]
    assert (metric["MetricName"], metric["Value"]) == ("train:loss", 0.25)
    model = f"s3://{BUCKET}/described/output/model.tar.gz"
    assert job["ModelArtifacts"] == {"S3ModelArtifacts": model}
    content = rehearsed("s3").get_object(Bucket=BUCKET, Key="described/output/model.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(content["Body"].read())) as tar:
        assert tar.getnames() == ["weights"]
    assert rehearsed.log("described") == [f"arn {ARN}described", "loss=0.5", "loss=0.25"]


@pytest.mark.parametrize(
    ("name", "script", "reason"),
    [
        ("exit-one", "raise SystemExit(1)", "exit code: 1"),
        ("exit-137", "import os; os.kill(os.getpid(), 9)", "exit code: 137"),
        ("raises", "raise ValueError('no such layer')", "no such layer"),
    ],
)
def test_a_script_that_fails_fails_the_job_with_its_reason(rehearsed, name, script, reason):
    rehearsed.start(name, f"print('begun', flush=True)\n{script}")
    job = rehearsed.ended(name)
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Failed"
    assert job["FailureReason"].startswith("AlgorithmError: ")
    assert reason in job["FailureReason"]
    assert rehearsed.log(name)[0] == "begun"


def test_a_job_that_may_run_no_longer_is_stopped(rehearsed):
    def run(seconds: int) -> bool:
        name = f"endless-{seconds}"
        rehearsed.start(name, POLITE, StoppingCondition={"MaxRuntimeInSeconds": seconds})
        job = rehearsed.ended(name)
        assert job["TrainingJobStatus"] == "Stopped"
        assert job["SecondaryStatus"] == "MaxRuntimeExceeded"
        return rehearsed.log(name) == ["ready", "saved"]

    long_enough(run)


def test_a_job_is_stopped_once(rehearsed):
    rehearsed.start("stopped", POLITE)
    wait_until(rehearsed.has_printed("stopped", "ready"), PATIENCE_SECONDS)
    rehearsed("sagemaker").stop_training_job(TrainingJobName="stopped")
    assert rehearsed.describe("stopped")["TrainingJobStatus"] in ("Stopping", "Stopped")
    job = rehearsed.ended("stopped")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert rehearsed.log("stopped") == ["ready", "saved"]
    with pytest.raises(rehearsed("sagemaker").exceptions.ClientError) as caught:
        rehearsed("sagemaker").stop_training_job(TrainingJobName="stopped")
    assert caught.value.response["Error"] == {
        "Code": "ValidationException",
        "Message": "The request was rejected because the training job is in status Stopped.",
    }


RESUMING = """
import os, signal, sys, time
kept = os.path.join(os.environ["SM_CHECKPOINT_DIR"], "kept")
if os.path.exists(kept):
    print("resumed from", open(kept).read())
    sys.exit(0)
def save(*_):
    open(kept, "w").write("the first attempt")
    print("saved", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("epoch 1/2", flush=True)
while True: time.sleep(.01)
"""


@pytest.mark.parametrize("at", ["50%", None])
def test_a_spot_job_is_interrupted_and_resumed(rehearsed, at):
    name = "spot-planned" if at else "spot-now"
    rehearsed.endpoint.stage(name, at=[at] if at else [], notice_seconds=PATIENCE_SECONDS)
    rehearsed.start(
        name,
        RESUMING,
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 600},
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/{name}/checkpoints"},
    )
    if at is None:
        wait_until(rehearsed.has_printed(name, "epoch 1/2"), PATIENCE_SECONDS)
        rehearsed.endpoint.interrupt(name)
    job = rehearsed.ended(name)
    assert [each["Status"] for each in job["SecondaryStatusTransitions"]] == [
        *("Starting", "Downloading", "Training", "Interrupted"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    # A stream for each attempt, as in the service.
    first, second = rehearsed.streams(name).values()
    assert first[-1] == "saved"
    assert second == ["resumed from the first attempt"]
    found = rehearsed("s3").list_objects_v2(Bucket=BUCKET, Prefix=f"{name}/checkpoints/")
    assert [each["Key"] for each in found["Contents"]] == [f"{name}/checkpoints/kept"]


def test_what_is_on_no_spot_instance_is_not_interrupted(rehearsed):
    from sift_launcher.errors import RehearsalError

    rehearsed.start("firm", "pass")
    with pytest.raises(RehearsalError, match="is on no spot instance"):
        rehearsed.endpoint.interrupt("firm")
    rehearsed.ended("firm")


def test_jobs_are_listed_page_by_page(rehearsed):
    names = [f"listed-{number}" for number in range(3)]
    for name in names:
        rehearsed.start(name, "pass")
    for name in names:
        rehearsed.ended(name)
    pages = (
        rehearsed("sagemaker")
        .get_paginator("list_training_jobs")
        .paginate(NameContains="listed-", PaginationConfig={"PageSize": 2})
    )
    found = [[each["TrainingJobName"] for each in page["TrainingJobSummaries"]] for page in pages]
    assert found == [["listed-2", "listed-1"], ["listed-0"]]
    moment = datetime(2020, 1, 1, tzinfo=timezone.utc)
    for wish, count in (("CreationTimeAfter", 3), ("CreationTimeBefore", 0)):
        found = rehearsed("sagemaker").list_training_jobs(
            NameContains="listed-", StatusEquals="Completed", **{wish: moment}
        )
        assert len(found["TrainingJobSummaries"]) == count


def test_a_job_has_the_tags_it_was_given(rehearsed):
    client = rehearsed("sagemaker")
    arn = rehearsed.start("tagged", "pass", Tags=[{"Key": "team", "Value": "vision"}])
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "cost", "Value": "7"}])
    client.delete_tags(ResourceArn=arn, TagKeys=["team"])
    assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "cost", "Value": "7"}]
    rehearsed.ended("tagged")


def test_all_that_a_job_has_printed_is_there_when_it_has_ended(rehearsed):
    rehearsed.start("talkative", "for i in range(30_000): print('line', i)")
    rehearsed.ended("talkative")
    assert rehearsed.log("talkative") == [f"line {i}" for i in range(30_000)]


def test_a_line_can_be_read_while_the_job_runs(rehearsed):
    rehearsed.start("live", POLITE)
    wait_until(lambda: rehearsed.log("live") == ["ready"], PATIENCE_SECONDS)
    state = "SecondaryStatus"
    wait_until(lambda: rehearsed.describe("live")[state] == "Training", PATIENCE_SECONDS)
    assert rehearsed.log("live") == ["ready"]
    assert rehearsed.describe("live")["TrainingJobStatus"] == "InProgress"
    rehearsed("sagemaker").stop_training_job(TrainingJobName="live")
    rehearsed.ended("live")
