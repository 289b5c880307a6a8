"""A job's code in S3 is fetched with the standard library alone."""

from __future__ import annotations

import calendar
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aws_stand_in import StandInAws
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as OfBotocore
from entrypoint_job import JobTree

from sift_entrypoint import credentials, s3, web
from sift_entrypoint.credentials import Credentials
from sift_entrypoint.errors import CodeError

KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s3cret", "AWS_REGION": "us-east-1"}


def packed(source: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("train.py")
        member.size = len(source)
        tar.addfile(member, io.BytesIO(source.encode()))
    return buffer.getvalue()


class Server:
    """An HTTP server that answers as it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.answer: Callable[[str, int], tuple[int, dict[str, str], bytes]]
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.asked.append((self.command, self.path, headers))
                status, told, body = outer.answer(self.path, len(outer.asked))
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | told).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_PUT = do_GET

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def end(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.end()


@pytest.fixture
def keys(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": server.url}).items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def fetched(address: str = "s3://b/k", **options: Any) -> tuple[bytes, list[float]]:
    """What was fetched, and for how long it was waited."""
    file, pauses = io.BytesIO(), []
    s3.fetch(address, file, pause=pauses.append, **options)
    return file.getvalue(), pauses


def refused(code: str, message: str = "why") -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def test_a_jobs_code_in_s3_is_fetched_and_run(job: JobTree, aws: StandInAws) -> None:
    client = aws.client("s3")
    client.create_bucket(Bucket="code")
    body = packed("print('fetched', __file__)")
    client.put_object(Bucket="code", Key="my job/source/ü+code.tar.gz", Body=body)
    job.hyperparameters(
        sagemaker_submit_directory="s3://code/my job/source/ü+code.tar.gz",
        sagemaker_region="us-east-1",
    )
    without_region = {k: v for k, v in aws.environment.items() if k != "AWS_DEFAULT_REGION"}
    done = job.run(**without_region)
    assert done.stderr == ""
    assert done.stdout == f"fetched {job.code}/train.py\n"


def test_code_that_is_gone_fails_the_job_in_one_line(job: JobTree, aws: StandInAws) -> None:
    aws.client("s3").create_bucket(Bucket="code")
    job.hyperparameters(sagemaker_submit_directory="s3://code/gone.tar.gz")
    done = job.run(**aws.environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "sift: cannot fetch s3://code/gone.tar.gz: it is not there (any more): submit the job "
        "again\n"
    )
    assert job.failure == done.stderr.removeprefix("sift: ").strip()


def test_a_job_whose_code_is_here_waits_for_no_ssl(job: JobTree) -> None:
    job.script("pass")
    job.hyperparameters()
    loaded = "import sys; sys.argv = ['x']; import sift_entrypoint.train; print(sys.modules.keys())"
    (job.base / "look.py").write_text(loaded)
    done = subprocess.run(
        [sys.executable, str(job.base / "look.py")],
        env=job.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "sift_entrypoint.train" in done.stdout
    for heavy in ("'ssl'", "'http.client'", "'urllib.request'", "'tempfile'", "entrypoint.s3'"):
        assert heavy not in done.stdout


@pytest.mark.parametrize("token", ["", "session/token=="])
@pytest.mark.parametrize(
    ("bucket", "key", "region", "endpoint"),
    [
        ("bucket", "a/b.tar.gz", "us-east-1", ""),
        ("bucket", "a b/ü+(1)~'*.tar.gz", "eu-central-1", ""),
        ("my.bucket", "a//b/../c", "eu-west-1", ""),
        ("bucket", "k", "cn-north-1", ""),
        ("bucket", "k", "us-west-2", "http://127.0.0.1:5000"),
        ("bucket", "k", "us-west-2", "https://s3.example:8443/"),
    ],
)
def test_the_signature_is_the_one_that_botocore_makes(
    bucket: str, key: str, region: str, endpoint: str, token: str
) -> None:
    url = s3.object_url(bucket, key, region, {"AWS_ENDPOINT_URL": endpoint})
    request = AWSRequest("GET", url)
    request.context["payload_signing_enabled"] = True
    S3SigV4Auth(OfBotocore("AKID", "s3cret", token), "s3", region).add_auth(request)
    theirs = {name.lower(): value for name, value in request.headers.items()}
    stamp = time.strptime(theirs["x-amz-date"], "%Y%m%dT%H%M%SZ")
    signer = Credentials("AKID", "s3cret", token, "somebody")
    ours = s3.signed_headers(url, region, signer, calendar.timegm(stamp))
    del ours["host"]  # which botocore leaves to the connection
    assert ours == theirs


@pytest.mark.parametrize(
    ("bucket", "region", "variables", "url"),
    [
        ("b", "us-east-1", {}, "https://b.s3.us-east-1.amazonaws.com/k/x%20y"),
        ("b.c", "eu-west-1", {}, "https://s3.eu-west-1.amazonaws.com/b.c/k/x%20y"),
        ("b", "cn-north-1", {}, "https://b.s3.cn-north-1.amazonaws.com.cn/k/x%20y"),
        ("b", "r-1", {"AWS_ENDPOINT_URL": "http://h:1/"}, "http://h:1/b/k/x%20y"),
        (
            "b",
            "r-1",
            {"AWS_ENDPOINT_URL": "http://h", "AWS_ENDPOINT_URL_S3": "http://s3"},
            "http://s3/b/k/x%20y",
        ),
    ],
)
def test_an_object_is_asked_for_where_it_is(
    bucket: str, region: str, variables: dict[str, str], url: str
) -> None:
    assert s3.object_url(bucket, "k/x y", region, variables) == url


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_busy_server_is_asked_again(server: Server, status: int) -> None:
    def answer(path: str, count: int) -> tuple[int, dict[str, str], bytes]:
        return (status, {}, b"") if count < 3 else (200, {}, b"content")

    server.answer = answer
    assert fetched() == (b"content", [0.5, 1.0])


@pytest.mark.usefixtures("keys")
def test_a_server_that_stays_busy_is_given_up(server: Server) -> None:
    server.answer = lambda path, count: (503, {}, b"")
    pauses: list[float] = []
    with pytest.raises(CodeError) as caught:
        s3.fetch("s3://b/k", io.BytesIO(), pause=pauses.append)
    host = server.url.removeprefix("http://")
    assert str(caught.value) == (
        f"cannot fetch s3://b/k, tried 6 times: {host} answers HTTP status 503"
    )
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0]


@pytest.mark.usefixtures("keys")
def test_half_an_object_is_fetched_again(server: Server) -> None:
    def answer(path: str, count: int) -> tuple[int, dict[str, str], bytes]:
        return (
            (200, {"Content-Length": "11"}, b"whole") if count == 1 else (200, {}, b"all of it!!")
        )

    server.answer = answer
    assert fetched() == (b"all of it!!", [0.5])


def test_a_server_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CodeError, match=r"tried 6 times: 127\.0\.0\.1:9 is not reached: "):
        fetched()


@pytest.mark.usefixtures("keys")
def test_a_bucket_of_another_region_is_asked_there(server: Server) -> None:
    def answer(path: str, count: int) -> tuple[int, dict[str, str], bytes]:
        if "/eu-west-1/s3/" in server.asked[-1][2]["authorization"]:
            return 200, {}, b"content"
        return 301, {"x-amz-bucket-region": "eu-west-1"}, refused("PermanentRedirect")

    server.answer = answer
    assert fetched() == (b"content", [])
    assert len(server.asked) == 2


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (
            404,
            "NoSuchKey",
            "cannot fetch s3://b/k: it is not there (any more): submit the job agai",
        ),
        (404, "NoSuchBucket", "cannot fetch s3://b/k: there is no bucket b"),
        (
            403,
            "AccessDenied",
            "cannot fetch s3://b/k: the owner of access key AKID lacks s3:GetObject on "
            "arn:aws:s3:::b/k, or kms:Decrypt on its key: add it to that role's policy (why)",
        ),
        (
            400,
            "ExpiredToken",
            "cannot fetch s3://b/k as the owner of access key AKID: HTTP status 400 ExpiredToken: "
            "why",
        ),
    ],
)
def test_what_s3_refuses_is_said_with_the_mend(
    server: Server, status: int, code: str, message: str
) -> None:
    server.answer = lambda path, count: (status, {}, refused(code))
    with pytest.raises(CodeError) as caught:
        fetched()
    assert str(caught.value).startswith(message)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://bucket", "names no object: write it as s3://bucket/key"),
        ("s3:///key", "names no object: write it as s3://bucket/key"),
    ],
)
def test_what_is_no_object_is_refused(address: str, message: str) -> None:
    with pytest.raises(CodeError, match=message):
        fetched(address)


def test_without_a_region_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CodeError, match="no region is set; set AWS_REGION"):
        fetched()


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("endpoint", ["nonsense", "ftp://x", "http://x:y"])
def test_an_endpoint_that_is_no_address_is_named(
    monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(CodeError, match=f"{endpoint}.* is no address"):
        fetched()


def test_certificates_that_cannot_be_read_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(CodeError, match=r"cannot read AWS_CA_BUNDLE /nowhere/ca\.pem: "):
        web.get("https://127.0.0.1:9/", {})


ROLE = {"AccessKeyId": "ASIA", "SecretAccessKey": "s", "Token": "t"}


def found(variables: dict[str, str]) -> list[str]:
    signer = credentials.find(variables, lambda _: None)
    return [signer.key, signer.secret, signer.token, signer.owner]


def test_the_environments_keys_come_first() -> None:
    variables = KEYS | {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/role"}
    assert found(variables) == ["AKID", "s3cret", "", "the owner of access key AKID"]
    assert found(variables | {"AWS_SESSION_TOKEN": "t"})[2] == "t"


@pytest.mark.parametrize("of_file", [False, True])
def test_then_the_containers_role(server: Server, tmp_path: Path, of_file: bool) -> None:
    (tmp_path / "token").write_text("let me in\n")
    token = (
        {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token")}
        if of_file
        else {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "let me in"}
    )
    body = json.dumps(ROLE | {"RoleArn": "arn:aws:iam::1:role/R"}).encode()
    server.answer = lambda path, count: (200, {}, body)
    variables = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.url}/role"} | token
    assert found(variables) == ["ASIA", "s", "t", "arn:aws:iam::1:role/R"]
    assert server.asked[0][1] == "/role"
    assert server.asked[0][2]["authorization"] == "let me in"


def test_a_job_in_sagemaker_has_its_role_from_a_fixed_address(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_CONTAINER", server.url)
    server.answer = lambda path, count: (200, {}, json.dumps(ROLE).encode())
    variables = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/1"}
    assert found(variables) == ["ASIA", "s", "t", "the job's role"]
    assert server.asked[0][1] == "/v2/credentials/1"


def test_a_token_is_sent_to_no_stranger_in_the_clear() -> None:
    variables = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/role"}
    with pytest.raises(CodeError, match="without https it must be this machine's"):
        found(variables)


def test_then_the_machines_role_by_its_second_protocol(server: Server) -> None:
    def answer(path: str, count: int) -> tuple[int, dict[str, str], bytes]:
        if path == "/latest/api/token":
            return 200, {}, b"machine token"
        if path.endswith("/security-credentials/"):
            return 200, {}, b"MyRole"
        return 200, {}, json.dumps(ROLE).encode()

    server.answer = answer
    variables = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url}
    assert found(variables) == ["ASIA", "s", "t", "role MyRole"]
    (put, first), (get, second), (_, third) = [asked[:2] for asked in server.asked]
    assert (put, first, get) == ("PUT", "/latest/api/token", "GET")
    assert second == "/latest/meta-data/iam/security-credentials/"
    assert third == "/latest/meta-data/iam/security-credentials/MyRole"
    assert server.asked[0][2]["x-aws-ec2-metadata-token-ttl-seconds"] == "21600"
    assert server.asked[2][2]["x-aws-ec2-metadata-token"] == "machine token"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, {}, b""), "answers HTTP status 404: give the job a role, or set AWS_ACCESS_KEY_ID"),
        ((200, {}, b"{}"), "answers none: give the job a role"),
        ((200, {}, b"[]"), "answers none: give the job a role"),
        ((200, {}, b"<html>"), "answers none: give the job a role"),
        ((500, {}, b""), "tried 3 times: "),
    ],
)
def test_a_role_without_credentials_is_named(server: Server, answer: Any, message: str) -> None:
    server.answer = lambda path, count: answer
    with pytest.raises(CodeError) as caught:
        found({"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.url}/role"})
    assert str(caught.value).startswith("no AWS credentials")
    assert message in str(caught.value)


def test_without_any_credentials_the_mend_is_said() -> None:
    with pytest.raises(CodeError, match="no AWS credentials: give the job a role"):
        found({"AWS_EC2_METADATA_DISABLED": "true"})


def test_the_token_of_the_job_travels_with_the_request(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": server.url}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the token")
    server.answer = lambda path, count: (200, {}, b"content")
    assert fetched()[0] == b"content"
    _, path, headers = server.asked[0]
    assert path == "/b/k"
    assert headers["x-amz-security-token"] == "the token"
    assert headers["x-amz-content-sha256"] == hashlib.sha256(b"").hexdigest()
