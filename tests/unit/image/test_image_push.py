"""Logging in to ECR, against a stand-in for AWS and against one that refuses."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from moto import mock_aws

from sift_launcher.errors import OptionError, PushFailed
from sift_launcher.image.push import Repository, log_in, parse_repository

NAME = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/sift:cpu"
REPOSITORY = Repository(account="123456789012", region="eu-west-1", name="team/sift")


@pytest.fixture(autouse=True)
def credentials(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


def test_a_name_in_ecr_says_whose_where_and_what():
    assert parse_repository(NAME) == REPOSITORY
    china = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/sift"
    assert parse_repository(china) == Repository("123456789012", "cn-north-1", "sift")


@pytest.mark.parametrize(
    "name", ["sift-training:cpu", "docker.io/me/sift", "1234.dkr.ecr.eu-west-1.amazonaws.com/sift"]
)
def test_a_name_elsewhere_is_refused_before_anything_is_built(name):
    with pytest.raises(OptionError, match=r"--tag ACCOUNT\.dkr\.ecr\.REGION\.amazonaws\.com/NAME"):
        parse_repository(name)


def test_a_missing_repository_is_created_and_one_that_is_there_is_kept(tmp_path):
    with mock_aws():
        ecr = boto3.client("ecr", region_name="eu-west-1")
        login = log_in(REPOSITORY)
        described = ecr.describe_repositories()["repositories"]
        assert [each["repositoryName"] for each in described] == ["team/sift"]
        assert log_in(REPOSITORY).username == "AWS"
        assert ecr.describe_repositories()["repositories"] == described
    assert login.username == "AWS"
    assert login.password
    assert login.password not in repr(login)
    assert list(tmp_path.rglob("*")) == []  # no token is written anywhere


def test_no_credentials_is_one_line_that_says_how_to_get_some(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(PushFailed, match="there are no AWS credentials: aws configure"):
        log_in(REPOSITORY)


@pytest.fixture
def refusing_aws(monkeypatch):
    """An endpoint that answers every request with the error it is given."""
    answer = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            content = json.dumps(answer).encode()
            self.send_response(400)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield answer
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("AccessDeniedException", "not allowed; it needs ecr:DescribeRepositories, ecr:Create"),
        ("ExpiredTokenException", "not allowed; log in anew"),
        ("LimitExceededException", "LimitExceededException: not allowed"),
    ],
)
def test_a_refusal_says_what_is_missing(refusing_aws, code, told):
    refusing_aws.update({"__type": code, "message": "not allowed"})
    with pytest.raises(PushFailed) as caught:
        log_in(REPOSITORY)
    assert str(caught.value).startswith("ECR of account 123456789012 in eu-west-1 refuses: ")
    assert told in str(caught.value)


def test_an_endpoint_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(PushFailed, match=r"eu-west-1 is not reached: .*127\.0\.0\.1:9"):
        log_in(REPOSITORY)
