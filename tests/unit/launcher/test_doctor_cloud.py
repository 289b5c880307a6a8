"""What the doctor learns of AWS, from a stand-in of it; and that it never waits for long."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from aws_stand_in import ACCOUNT, StandInAws

from sift_launcher.cloud.quotas import Quota
from sift_launcher.doctor import cloud
from sift_launcher.doctor.cloud import cloud_facts

WHO = f"arn:aws:sts::{ACCOUNT}:user/moto"


@pytest.fixture(autouse=True)
def settings(aws: StandInAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for patience in ("_PATIENCE_SECONDS", "_CALL_SECONDS"):
        monkeypatch.setattr(cloud, patience, 120.0)  # a busy machine may keep the stand-in waiting
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return tmp_path / "config"


def make_role(aws: StandInAws, name: str, service: str) -> None:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    trust = {"Version": "2012-10-17", "Statement": [statement]}
    aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))


def test_region_identity_and_role_are_found(aws):
    make_role(aws, "Other", "lambda.amazonaws.com")
    found = cloud_facts()
    assert (found.role, found.role_problem) == (None, "no role trusts sagemaker.amazonaws.com")
    make_role(aws, "Training", "sagemaker.amazonaws.com")
    found = cloud_facts()
    assert found.has_botocore
    assert found.region == "us-east-1"
    assert found.identity == WHO
    assert found.role == f"arn:aws:iam::{ACCOUNT}:role/Training"
    assert (found.quota, found.quota_problem) == (None, "")


def test_the_region_of_the_settings_file_counts_and_credentials_are_missed(settings, monkeypatch):
    for name in ("AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    settings.write_text("[default]\nregion = eu-north-1\n")
    found = cloud_facts()
    assert found.region == "eu-north-1"
    assert found.identity is None
    assert found.identity_problem.startswith("there are no AWS credentials: aws configure")
    assert found.role_problem == found.quota_problem == "not asked without credentials"


def test_a_profile_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    found = cloud_facts()
    assert found.region == "us-east-1"
    assert found.identity_problem.startswith("there is no AWS profile 'nobody'")


def test_without_a_region_nobody_is_asked(monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    found = cloud_facts()
    assert found.region is None
    assert found.identity_problem == found.role_problem == "not asked without a region"


def test_without_botocore_nothing_is_known_but_the_environments_region(monkeypatch):
    monkeypatch.setattr(cloud, "find_spec", lambda name: None)
    found = cloud_facts()
    assert (found.has_botocore, found.region, found.identity) == (False, "us-east-1", None)


def test_a_stand_in_has_no_quotas():
    found = cloud_facts("ml.g5.xlarge")
    assert found.quota == "without limit: a stand-in for AWS has no quotas"
    assert found.quota_problem == ""


@pytest.mark.parametrize(
    ("value", "quota", "problem"),
    [
        (4.0, "4 x ml.g5.xlarge at once", ""),
        (
            0.0,
            None,
            "this account's quota of 'ml.g5.xlarge for training job usage' is 0 in us-east-1, and "
            "the job needs 1: aws service-quotas request-service-quota-increase --service-code "
            "sagemaker --quota-code L-1 --desired-value 1 --region us-east-1 asks for more",
        ),
        (None, None, "us-east-1 knows no quota of ml.g5.xlarge: it may not have any"),
    ],
)
def test_the_quota_of_sagemakers_instances(aws, value, quota, problem, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    name = "ml.g5.xlarge for training job usage"
    known = None if value is None else Quota(name, "L-1", value)
    monkeypatch.setattr(cloud, "instance_quota", lambda *_: known)
    monkeypatch.setattr(cloud, "caller", lambda _: WHO)
    monkeypatch.setattr(cloud, "training_roles", lambda _: iter(["arn:role"]))
    found = cloud_facts("ml.g5.xlarge")
    assert (found.quota, found.quota_problem, found.role) == (quota, problem, "arn:role")


def test_an_answer_that_does_not_come_is_not_waited_for(monkeypatch):
    never, answered = threading.Event(), threading.Event()

    def caller(_: object) -> str:
        never.wait(120)
        answered.set()
        return WHO

    monkeypatch.setattr(cloud, "_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(cloud, "caller", caller)
    found = cloud_facts()
    assert not answered.is_set()
    never.set()
    assert found.identity_problem == "no answer within 0.2 s"
