"""`--instance ml.*`, up to the moment in which something would be launched."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress

import pytest
from aws_stand_in import ROLE, StandInAws

BUCKET = "sagemaker-us-east-1-123456789012"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker"
CLOUD = ["train.py", "--instance", "ml.m5.large", "--name", "digits", "--role", "SageMakerRole"]
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


@pytest.fixture
def account(aws: StandInAws) -> StandInAws:
    """With a role, a default bucket, and data in another one."""
    role = {"RoleName": "SageMakerRole", "AssumeRolePolicyDocument": json.dumps(TRUST)}
    aws.client("iam").create_role(**role)
    s3 = aws.client("s3")
    for bucket in (BUCKET, "data"):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket="data", Key="train/a.bin", Body=b"a")
    return aws


@pytest.fixture
def train(account, cli):
    cli.script("raise SystemExit('it ran')")
    return cli


def test_a_dry_run_shows_all_there_is_to_know_and_starts_nothing(train, account):
    train.script("0123456789", "sets/one.txt")
    ended = train(
        *CLOUD, "--dry-run", "--count", "2", "--spot", "--max-run", "7200", "--price", "0.115",
        "--data", "train=sets", "--data", "test=s3://data/train", "--shard", "test", "--no-sift",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    shown, _, request = ended.stdout.partition("request   ")
    upload = request.partition("sift-data/")[2][:32]
    assert shown.splitlines() == [
        "job       digits",
        f"image     {IMAGE}",
        "hosts     2 x ml.m5.large in us-east-1, 30 GB each, for 2 h at most, on spot instances, "
        "within 26 h with the waiting",
        f"code      2 files, 36 B, from {train.project}",
        "               26 B  train.py",
        "               10 B  sets/one.txt",
        f"data      train: s3://{BUCKET}/sift-data/{upload}/ (1 file, 10 B of "
        f"{train.project}/sets, uploaded once)",
        "          test: s3://data/train (a share for each host)",
        f"output    s3://{BUCKET}/digits/output/",
        f"kept      s3://{BUCKET}/digits/checkpoints (checkpoints)",
        f"role      {ROLE}",
        "cost      at most $0.46 = $0.115/h x 2 x 2 h (--price)",
        "          less on spot instances; how much less is not known",
    ]
    assert request.endswith("Nothing was started: this was a dry run.\n")
    assert account.client("sagemaker").list_training_jobs()["TrainingJobSummaries"] == []
    assert "Contents" not in account.client("s3").list_objects_v2(Bucket=BUCKET)


def test_the_json_of_a_dry_run_has_the_exact_request(train):
    ended = train(*CLOUD, "--dry-run", "--json", "--no-sift", "--tag", "team=vision")
    assert ended.returncode == 0, ended.stderr
    planned = json.loads(ended.stdout)
    assert planned["request"] == {
        "TrainingJobName": "digits",
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "HyperParameters": {
            "sagemaker_submit_directory": f'"s3://{BUCKET}/digits/source/sourcedir.tar.gz"',
            "sagemaker_program": '"train.py"',
            "sagemaker_container_log_level": "20",
            "sagemaker_job_name": '"digits"',
            "sagemaker_region": '"us-east-1"',
        },
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        "ProfilerConfig": {"DisableProfiler": True},
        "Tags": [{"Key": "team", "Value": "vision"}],
    }
    assert planned["max_cost_dollars"] is None
    assert planned["cloud"]["account"] == "123456789012"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ["--budget", "1", "--price", "0.5"],
            "the job can cost $12.00, more than --budget 1: --max-run 7200 keeps within it",
        ),
        (["--budget", "1"], "--budget 1 cannot be kept to: what an instance costs is not known ("),
        (["--output", "s3://nowhere-at-all/x", "--yes"], "bucket nowhere-at-all"),
        (["--price", "0.5"], "nobody is here to be asked about job digits, which can cost $12.00"),
    ],
)
def test_what_would_be_refused_is_refused_after_the_plan_is_shown(train, account, options, told):
    ended = train(*CLOUD, *options, stdin=subprocess.DEVNULL)
    assert ended.returncode == 2
    *shown, last = ended.stderr.splitlines()
    assert shown[0] == "job       digits"
    assert told in last
    assert ended.stdout == ""
    assert account.client("sagemaker").list_training_jobs()["TrainingJobSummaries"] == []
    assert not (train.state / "cloud").exists()


def test_a_question_is_asked_on_a_terminal_and_no_launches_nothing(train, account):
    ours, theirs = pty.openpty()
    process = train.start(*CLOUD, "--price", "0.5", stdin=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, b"n\n")
    shown = b""
    with suppress(OSError):  # it has ended
        while True:
            shown += os.read(ours, 4096)
    assert process.wait(timeout=train.patience_seconds) == 130, shown
    os.close(ours)
    assert b"Launch job digits, which can cost $12.00? [y/N] " in shown
    assert b"nothing was launched" in shown
    assert account.client("sagemaker").list_training_jobs()["TrainingJobSummaries"] == []


def test_what_is_wrong_here_is_said_before_any_account_is_looked_for(cli):
    cli.environment = {k: v for k, v in cli.environment.items() if not k.startswith("AWS_")}
    ended = cli("trian.py", "--instance", "ml.m5.large")
    assert (ended.returncode, ended.stderr) == (2, f"no such script: trian.py in {cli.project}\n")


def test_a_rehearsal_asks_nothing_and_leaves_the_users_own_account_aside(cli):
    cli.script("print('it ran')")
    try:
        ended = cli(
            *CLOUD, "--no-sift", "--rehearse", "--region", "eu-west-1", "--kms-key", "alias/mine",
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    finally:
        cli("rehearsal", "stop")
    assert ended.returncode == 0, ended.stderr
    told = ended.stderr.splitlines()
    assert told[:2] == [
        "a rehearsal is an account of its own: --role, --region, --kms-key stand aside",
        "job       digits (a rehearsal on this machine)",
    ]
    assert "hosts     1 x ml.m5.large in us-east-1, 30 GB each, for 24 h at most" in told
    assert f"role      {ROLE}" in told
    assert "it ran" in ended.stdout


HEAVY = """
import sys
from sift_launcher.cli import run
code = run(sys.argv[1:])
heavy = {"sagemaker", "boto3", "botocore", "moto"}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("options", "imported"),
    [
        ([*CLOUD, "--dry-run"], ["botocore"]),
        (["train.py", "--dry-run"], []),
        (["train.py", "--name", "here"], []),
        (["jobs"], []),
    ],
)
def test_a_plan_is_there_before_the_sdk_and_local_jobs_need_nothing_of_the_cloud(
    train, options, imported
):
    train.script("")
    ended = subprocess.run(
        [sys.executable, "-c", HEAVY, *options],
        cwd=train.project,
        env=train.environment,
        capture_output=True,
        text=True,
        timeout=train.patience_seconds,
    )
    assert ended.stderr.splitlines()[-1] == str(imported)
