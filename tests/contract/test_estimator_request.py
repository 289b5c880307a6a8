"""The estimator sends what was planned: both requests are equal, as they go over the wire."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from aws_answers import refusal
from aws_stand_in import ACCOUNT, REGION, ROLE, StandInAws
from botocore.exceptions import EndpointConnectionError
from estimator_specs import CPU_IMAGE, GPU_IMAGE, JOBS, Asked

from sift_launcher import catalogue
from sift_launcher.bundle import list_bundle
from sift_launcher.carried import carried_files
from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.facts import Cloud, Prices
from sift_launcher.cloud.upload import plan_uploads
from sift_launcher.errors import (
    AccessDenied,
    BucketMissing,
    ChannelError,
    CloudUnreachable,
    ResourceInUse,
)
from sift_launcher.estimator.pytorch import SiftPyTorch
from sift_launcher.estimator.sdk import TrainingInput
from sift_launcher.estimator.session import SiftSession
from sift_launcher.estimator.submit import submit_to_sagemaker
from sift_launcher.images import ImageFacts
from sift_launcher.job_spec import Channel, JobSpec
from sift_launcher.plan import Plan, plan
from sift_launcher.surroundings import Surroundings

BUCKET = f"sagemaker-{REGION}-{ACCOUNT}"
BY_HAND = sorted(name for name, job in JOBS.items() if job.kind == "toolkit")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "train.py").write_text("print('trained')\n")
    (folder / "model.py").write_text("")
    (folder / ".env").write_text("KEY=1\n")
    return folder


class Account:
    """The account's clients, and the bodies of the requests that they send."""

    def __init__(self) -> None:
        self.clients = Clients(attempts=1)
        self.calls: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        for service in ("sagemaker", "s3", "sts"):
            events = self.clients(service).meta.events
            events.register("before-call.*.*", self._note)
            events.register(f"before-send.{service}.CreateTrainingJob", self._keep)
        self.clients("s3").create_bucket(Bucket=BUCKET)
        self.clients("s3").create_bucket(Bucket="own-bucket")
        self.calls.clear()

    def _note(self, model: Any, **more: Any) -> None:
        self.calls.append(model.name)

    def _keep(self, request: Any, **more: Any) -> None:
        self.bodies.append(json.loads(request.body))

    def instead_of(self, service: str, operation: str, act: Callable[[], Any]) -> None:
        event = f"before-send.{service}.{operation}"
        self.clients(service).meta.events.register_first(event, lambda **more: act())

    def files(self, uri: str) -> dict[str, bytes]:
        """What the archive there holds."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body = self.clients("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            return {each.name: archive.extractfile(each).read() for each in archive}


@pytest.fixture
def account(aws: StandInAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setenv("SIFT_LAUNCHER_HOME", str(tmp_path / "home"))
    return Account()


def planned(asked: Asked, source: Path) -> Plan:
    wished = {"instance": "ml.g5.xlarge", "name": "digits"} | asked.spec
    spec = JobSpec("train.py", source_dir=source, **wished)
    is_small = spec.instance == "ml.m5.xlarge"
    image = CPU_IMAGE if is_small else GPU_IMAGE
    image = spec.image if spec.image and spec.image != "stock" else image
    needs_runtime = spec.sift_config is not None or spec.arguments or asked.kind == "plain"
    cloud = Cloud(
        region=REGION,
        account=ACCOUNT,
        role_arn=ROLE,
        bucket=BUCKET,
        image=ImageFacts(image, "sha256:1", "amd64", None, asked.kind),
        prices=Prices(1.408),
        runtime=carried_files() if needs_runtime else (),
        **asked.cloud,
    )
    here = Surroundings(
        now=datetime(2026, 3, 9, 8, 5, 1, tzinfo=timezone.utc),
        name_seed="k3x9",
        program="train.py",
        bundle=list_bundle(source, "train.py"),
        channels={name: channel.place for name, channel in spec.channels.items()},
        output=spec.output or f"s3://{BUCKET}/",
        python="/usr/bin/python3",
        cloud=cloud,
    )
    return plan(spec, here)


def without_uploads(asked: Asked) -> Asked:
    """Its data is there already, so that nothing has to be uploaded."""
    channels = {
        name: Channel(str(asked.inputs[name]), channel.sharded, channel.input_mode)
        if not channel.is_in_s3
        else channel
        for name, channel in asked.spec.get("channels", {}).items()
    }
    return Asked(asked.spec | {"channels": channels}, asked.estimator, asked.inputs, {}, asked.kind)


@pytest.mark.parametrize("name", sorted(JOBS))
def test_what_is_submitted_is_what_was_planned(name, account, source):
    wanted = planned(without_uploads(JOBS[name]), source)
    arn = submit_to_sagemaker(wanted, print, account.clients)
    assert account.bodies == [wanted.request]
    assert arn == f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/digits"
    assert sorted(account.files(wanted.bundle_uri)) == [each.path for each in wanted.bundle.files]


@pytest.mark.parametrize("name", BY_HAND)
def test_whoever_writes_python_gets_the_same_job(name, account, source):
    asked = JOBS[name]
    wanted = planned(asked, source)
    estimator = SiftPyTorch(
        "train.py",
        source_dir=str(source),
        **{"instance_type": "ml.g5.xlarge", "instance_count": 1, "role": ROLE} | asked.estimator,
        debugger_hook_config=False,
        disable_profiler=True,
        sagemaker_session=SiftSession(account.clients),
    )
    estimator.fit(inputs(asked), wait=False, job_name="digits")
    assert account.bodies == [wanted.request]
    assert sorted(account.files(wanted.bundle_uri)) == [each.path for each in wanted.bundle.files]


def inputs(asked: Asked) -> dict[str, Any] | None:
    if asked.inputs is None:
        return None
    return {
        name: value if isinstance(value, str) else TrainingInput(**value)
        for name, value in asked.inputs.items()
    }


def test_submitting_asks_aws_for_nothing_that_the_plan_knows(account, source):
    submit_to_sagemaker(planned(JOBS["sifted"], source), print, account.clients)
    assert account.calls == ["PutObject", "CreateTrainingJob"]


def test_the_first_job_of_an_account_makes_its_default_bucket(account, source):
    account.clients("s3").delete_bucket(Bucket=BUCKET)
    wanted = planned(JOBS["sifted"], source)
    submit_to_sagemaker(wanted, print, account.clients)
    assert account.bodies == [wanted.request]
    assert sorted(account.files(wanted.bundle_uri)) == [each.path for each in wanted.bundle.files]


def test_a_bucket_that_was_named_and_is_gone_is_not_made(account, source):
    wanted = replace(JOBS["sifted"], spec=JOBS["sifted"].spec | {"output": "s3://gone-bucket/x"})
    with pytest.raises(BucketMissing, match=r"s3://gone-bucket/digits/.*there is no such bucket"):
        submit_to_sagemaker(planned(wanted, source), print, account.clients)
    assert account.bodies == []
    there = [each["Name"] for each in account.clients("s3").list_buckets()["Buckets"]]
    assert sorted(there) == ["own-bucket", BUCKET]


def test_a_job_that_was_submitted_is_remembered(account, source):
    submit_to_sagemaker(planned(JOBS["of two hosts"], source), print, account.clients)
    entry = catalogue.entry("digits")
    assert (entry.region, entry.instance, entry.count) == (REGION, "ml.g5.xlarge", 2)
    assert entry.arn == f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/digits"
    assert entry.dollars_per_hour == 1.408


@pytest.fixture
def with_data(account, source, tmp_path) -> Plan:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.csv").write_text("1,2\n")
    spec = JobSpec("train.py", channels={"train": Channel(str(data))})
    uploads = plan_uploads(spec, BUCKET)
    asked = Asked({"channels": spec.channels}, cloud={"uploads": uploads})
    return planned(asked, source)


def test_data_of_this_machine_is_there_before_the_job(with_data, account):
    submit_to_sagemaker(with_data, print, account.clients)
    (sent,) = account.bodies
    uri = sent["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"]
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    body = account.clients("s3").get_object(Bucket=bucket, Key=f"{prefix}a.csv")["Body"].read()
    assert body == b"1,2\n"
    assert account.calls.index("PutObject") < account.calls.index("CreateTrainingJob")


def fail(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (EndpointConnectionError(endpoint_url="https://s3"), CloudUnreachable),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_where_an_upload_is_interrupted_there_is_no_job(error, told, with_data, account):
    account.instead_of("s3", "PutObject", fail(error))
    with pytest.raises(told):
        submit_to_sagemaker(with_data, print, account.clients)
    assert account.bodies == []
    assert catalogue.entry("digits") is None


def test_data_that_changed_since_the_plan_starts_no_job(with_data, account, tmp_path):
    (tmp_path / "data/a.csv").write_text("1,2,3\n")
    with pytest.raises(ChannelError, match=r"channel train: .* changed since the job was planned"):
        submit_to_sagemaker(with_data, print, account.clients)
    assert account.bodies == []


@pytest.mark.parametrize(
    ("code", "text", "kind", "told"),
    [
        (
            "ResourceInUse",
            "Training job names must be unique within an AWS account and region.",
            ResourceInUse,
            "creating training job digits: .*: choose another --name",
        ),
        (
            "AccessDeniedException",
            "User: arn:aws:iam::123456789012:user/ada is not authorized to perform: "
            "iam:PassRole on resource: arn:aws:iam::123456789012:role/SageMakerRole",
            AccessDenied,
            "user/ada lacks the permission iam:PassRole on arn:aws:iam::123456789012:role/",
        ),
    ],
)
def test_a_refusal_is_told_in_one_line(code, text, kind, told, account, source, caplog):
    account.instead_of("sagemaker", "CreateTrainingJob", lambda: refusal(code, text))
    with pytest.raises(kind, match=told):
        submit_to_sagemaker(planned(JOBS["sifted"], source), print, account.clients)
    assert catalogue.entry("digits") is None
    assert caplog.messages == []
