"""The session with SageMaker: what it asks of AWS, and what it says when that is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from aws_answers import answer
from aws_stand_in import ACCOUNT, StandInAws
from botocore.awsrequest import AWSResponse

from sift_launcher.cloud.client import Clients
from sift_launcher.errors import BucketError, RegionError
from sift_launcher.estimator import sdk
from sift_launcher.estimator.sdk import Session, without_telemetry
from sift_launcher.estimator.session import SiftSession

BUCKET = f"sagemaker-us-east-1-{ACCOUNT}"


class Calls(list[str]):
    """The names of what is asked of AWS, in order."""

    def watch(self, session: SiftSession, *services: str) -> None:
        for service in services:
            session.clients(service).meta.events.register("before-call.*.*", self._note)

    def _note(self, model: Any, **more: Any) -> None:
        self.append(model.name)


@pytest.fixture
def session(aws: StandInAws) -> SiftSession:
    return SiftSession()


@pytest.fixture
def calls(session: SiftSession) -> Calls:
    calls = Calls()
    calls.watch(session, "s3", "sts", "sagemaker")
    return calls


def test_the_account_is_asked_for_once_and_where_the_environment_leads(session, calls):
    assert [session.account_id(), session.account_id()] == [ACCOUNT, ACCOUNT]
    assert calls == ["GetCallerIdentity"]


def test_the_default_bucket_is_made_and_looked_for_once(session, calls):
    assert [session.default_bucket(), session.default_bucket()] == [BUCKET, BUCKET]
    assert calls == ["GetCallerIdentity", "HeadBucket", "CreateBucket"]
    assert SiftSession().default_bucket() == BUCKET


def test_a_bucket_elsewhere_is_made_there(aws, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    session = SiftSession()
    name = session.default_bucket()
    assert name == f"sagemaker-eu-west-1-{ACCOUNT}"
    where = session.s3_client.get_bucket_location(Bucket=name)["LocationConstraint"]
    assert where == "eu-west-1"


def test_what_is_known_is_not_asked_for(aws):
    session = SiftSession(account="210987654321", bucket="own")
    calls = Calls()
    calls.watch(session, "s3", "sts")
    assert (session.account_id(), session.default_bucket()) == ("210987654321", "own")
    assert calls == []


def test_a_default_bucket_of_somebody_elses_gets_nothing(session):
    asked = []

    def forbid(request: Any, **more: Any) -> AWSResponse:
        asked.append(request.headers["x-amz-expected-bucket-owner"].decode())
        return answer(403)

    session.s3_client.meta.events.register("before-send.s3.HeadBucket", forbid)
    with pytest.raises(BucketError, match=f"{BUCKET} cannot be used: .* account than {ACCOUNT}"):
        session.default_bucket()
    assert asked == [ACCOUNT]


def test_a_bucket_of_ones_own_is_named(session, calls):
    named = SiftSession(session.clients, default_bucket="of-the-team")
    assert named.default_bucket() == "of-the-team"
    assert calls == ["HeadBucket", "CreateBucket"]


def test_without_a_region_it_says_how_to_set_one(aws, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(RegionError, match="no AWS region is set"):
        SiftSession()


def test_a_copied_estimator_keeps_its_connections(session):
    assert copy.deepcopy({"session": session})["session"] is session


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The sessions that the SDK reports about."""
    sent: list[Any] = []
    monkeypatch.setattr(
        sdk, "_report", lambda status, features, session, *more: sent.append(session)
    )
    yield sent


def report(session: Any) -> None:
    sdk._telemetry._send_telemetry_request(1, [5], session, None, None, "estimator.fit")


def test_nothing_is_reported_to_aws_of_what_is_done_with_it(session, reports):
    report(session)
    assert reports == []


def test_whoever_switches_reports_on_has_them(session, reports):
    settings = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {}}}}
    off = SiftSession(session.clients, sagemaker_config=settings)
    settings["SageMaker"]["PythonSDK"]["Modules"]["TelemetryOptOut"] = False
    on = SiftSession(session.clients, sagemaker_config=settings)
    report(off)
    report(on)
    assert reports == [on]


def test_a_session_of_the_sdks_own_is_silenced_by_the_estimator_alone(aws, reports):
    plain = Session(default_bucket="own")
    report(plain)
    assert reports == [plain]
    without_telemetry(plain)
    report(plain)
    assert reports == [plain]


def test_clients_for_other_things_lead_to_the_same_account(session):
    assert session.sagemaker_client is session.clients("sagemaker")
    assert session.sagemaker_runtime_client.meta.region_name == "us-east-1"
    assert Clients is type(session.clients)
