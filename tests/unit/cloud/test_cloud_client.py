"""Which account and region count, and that AWS is asked with patience, but not for ever."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import botocore.endpoint
import pytest
from aws_stand_in import StandInAws

from sift_launcher.cloud import client as client_module
from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.explain import explained
from sift_launcher.errors import CloudUnreachable, CredentialsError, ExtraMissing, RegionError


@pytest.fixture(autouse=True)
def settings(aws: StandInAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    place = tmp_path / "config"
    place.write_text(
        "[default]\nregion = eu-north-1\n"
        "[profile research]\nregion = eu-west-3\nendpoint_url = http://127.0.0.1:1\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(place))
    return place


@pytest.mark.parametrize(
    ("environment", "region", "profile", "counts"),
    [
        ({}, None, None, "eu-north-1"),
        ({}, None, "research", "eu-west-3"),
        ({"AWS_DEFAULT_REGION": "us-east-2"}, None, "research", "us-east-2"),
        ({"AWS_DEFAULT_REGION": "us-east-2", "AWS_REGION": "us-west-2"}, None, None, "us-west-2"),
        ({"AWS_REGION": "us-west-2"}, "ap-south-1", None, "ap-south-1"),
        ({"AWS_PROFILE": "research"}, None, None, "eu-west-3"),
    ],
)
def test_the_nearest_region_counts(environment, region, profile, counts, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    clients = Clients(region, profile)
    assert clients.region == counts
    assert clients("s3").meta.region_name == counts


def test_without_a_region_the_error_says_how_to_set_one(settings):
    settings.write_text("")
    with pytest.raises(RegionError) as error:
        Clients()
    assert str(error.value) == (
        "no AWS region is set: --region us-east-1, or export AWS_REGION=us-east-1"
    )


@pytest.mark.parametrize("region", ["US-EAST-1", "Frankfurt", "us-east", "us_east_1"])
def test_what_is_no_regions_name_is_refused(region):
    with pytest.raises(RegionError, match="is not a region's name: write --region us-east-1"):
        Clients(region)


def test_a_profile_that_nobody_wrote_is_refused_with_those_there_are():
    with pytest.raises(CredentialsError) as error:
        Clients(profile="reserch")
    assert str(error.value) == (
        "there is no AWS profile 'reserch' (did you mean research?): there are default, research; "
        "aws configure --profile reserch writes it"
    )


def test_the_endpoint_is_the_environments_unless_one_is_given(aws, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint)
    assert Clients("us-east-1").endpoint == aws.endpoint
    given = Clients("us-east-1", endpoint="http://127.0.0.1:1")
    assert given("s3").meta.endpoint_url == given.endpoint == "http://127.0.0.1:1"
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert Clients("us-east-1").endpoint is None
    assert Clients(profile="research").endpoint == "http://127.0.0.1:1"
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert Clients(profile="research").endpoint is None


def test_a_service_may_have_an_endpoint_of_its_own(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:2")
    clients = Clients("us-east-1")
    assert clients("sts").meta.endpoint_url == clients.endpoint == "http://127.0.0.1:1"
    assert clients("s3").meta.endpoint_url == "http://127.0.0.1:2"


@pytest.mark.parametrize(
    ("region", "home"),
    [("eu-west-1", "us-east-1"), ("us-east-1", "us-east-1"), ("cn-north-1", "cn-northwest-1")],
)
def test_the_price_list_is_asked_where_it_lies(region, home):
    clients = Clients(region)
    assert clients("pricing").meta.region_name == home
    assert clients("sts").meta.region_name == region


def test_threads_get_one_and_the_same_client():
    clients = Clients("us-east-1")
    got = []
    threads = [threading.Thread(target=lambda: got.append(clients("s3"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert len({id(each) for each in got}) == 1


def test_without_botocore_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for make in (Clients, lambda: client_module.require_botocore()):
        with pytest.raises(ExtraMissing) as error:
            make()
        assert str(error.value) == (
            "jobs in SageMaker need AWS's packages: pip install 'sift-launcher[cloud]'"
        )


def test_boto3_is_not_imported():
    code = (
        "import sys; from sift_launcher.cloud.client import Clients; from sift_launcher.cloud "
        "import checks, gather; Clients('us-east-1')('sts'); print('boto3' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


class Throttling(BaseHTTPRequestHandler):
    """SageMaker that refuses the first calls, as many as its server says."""

    def do_POST(self) -> None:
        self.server.calls += 1  # type: ignore[attr-defined]
        is_busy = self.server.calls <= self.server.busy_for  # type: ignore[attr-defined]
        answer = {"__type": "ThrottlingException", "message": "Rate exceeded"}
        body = json.dumps(answer if is_busy else {"TrainingJobSummaries": []}).encode()
        self.send_response(400 if is_busy else 200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def throttling(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    waited: list[float] = []
    monkeypatch.setattr(botocore.endpoint, "time", types.SimpleNamespace(sleep=waited.append))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Throttling)
    server.calls, server.waited = 0, waited  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def list_jobs(server: ThreadingHTTPServer) -> object:
    clients = Clients("us-east-1", endpoint=f"http://127.0.0.1:{server.server_port}")
    try:
        with explained("sagemaker:ListTrainingJobs", "listing jobs"):
            return clients("sagemaker").list_training_jobs()["TrainingJobSummaries"]
    finally:
        clients("sagemaker").close()


def test_throttling_is_waited_out(throttling):
    throttling.busy_for = 4
    assert list_jobs(throttling) == []
    assert throttling.calls == 5
    assert len(throttling.waited) == 4


def test_throttling_that_does_not_end_is_told_as_such(throttling):
    throttling.busy_for = 100
    with pytest.raises(CloudUnreachable) as error:
        list_jobs(throttling)
    assert throttling.calls == 5
    assert str(error.value) == (
        "AWS does not take listing jobs now, after several attempts (ThrottlingException): "
        "wait a minute and try again"
    )


def test_a_connection_that_is_not_there_is_told_as_such():
    clients = Clients("us-east-1", endpoint="http://127.0.0.1:1", attempts=1)
    with (
        pytest.raises(CloudUnreachable) as error,
        explained("sts:GetCallerIdentity", "asking who this is"),
    ):
        clients("sts").get_caller_identity()
    assert str(error.value) == (
        "AWS is not reached (asking who this is): no connection to http://127.0.0.1:1/: "
        "is this machine online?"
    )
