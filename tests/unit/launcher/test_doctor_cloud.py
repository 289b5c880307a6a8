"""What the doctor learns of AWS, from a stand-in of it; and that it never waits for long."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sift_launcher.doctor import cloud
from sift_launcher.doctor.cloud import cloud_facts

pytest.importorskip("boto3")
moto = pytest.importorskip("moto")

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


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with moto.mock_aws():
        yield


def test_region_identity_and_role_are_found(aws: None, monkeypatch: pytest.MonkeyPatch):
    import boto3

    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    iam = boto3.client("iam", region_name="eu-west-1")
    lambdas = json.dumps(TRUST).replace("sagemaker", "lambda")
    iam.create_role(RoleName="Other", AssumeRolePolicyDocument=lambdas)
    found = cloud_facts()
    assert (found.role, found.role_problem) == (None, "no role trusts sagemaker.amazonaws.com")
    iam.create_role(RoleName="Training", AssumeRolePolicyDocument=json.dumps(TRUST))
    found = cloud_facts()
    assert found.has_boto3
    assert found.region == "eu-west-1"
    assert found.identity == "arn:aws:sts::123456789012:user/moto"
    assert found.role == "arn:aws:iam::123456789012:role/Training"


def test_the_region_of_the_settings_file_counts(tmp_path: Path):
    (tmp_path / "config").write_text("[default]\nregion = eu-north-1\n")
    found = cloud_facts()
    assert found.region == "eu-north-1"
    assert found.identity is None
    assert found.identity_problem == "Unable to locate credentials"
    assert found.role_problem == "not asked without credentials"


def test_without_a_region_nobody_is_asked():
    found = cloud_facts()
    assert found.region is None
    assert found.identity_problem == found.role_problem == "not asked without a region"


def test_an_answer_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    never = threading.Event()
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setattr(cloud, "_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(cloud, "_identity", lambda *_: never.wait(20))
    start = time.monotonic()
    found = cloud_facts()
    assert time.monotonic() - start < 5
    assert found.identity_problem == "no answer within 0.2 s"
    never.set()
