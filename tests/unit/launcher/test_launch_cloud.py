"""A launch in the cloud from its acceptance to its end, and Ctrl-C at every moment of it."""

from __future__ import annotations

import os
import signal
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aws_stand_in import ACCOUNT, REGION, ROLE, StandInAws
from played_sagemaker import (
    ARN,
    BUCKET,
    PlayedClients,
    PlayedSageMaker,
    Prints,
    described,
    ended,
    refusal,
)

from sift_launcher import catalogue
from sift_launcher.bundle import CodeBundle
from sift_launcher.cli.launch import launch_cloud
from sift_launcher.cloud import job as cloud_job
from sift_launcher.cloud.facts import Cloud, Prices
from sift_launcher.errors import CredentialsError, JobFailed, JobInterrupted
from sift_launcher.images import ImageFacts
from sift_launcher.plan import Plan

IMAGE = ImageFacts("image", "sha256:1", "amd64", None, "toolkit")


def planned(is_rehearsal: bool = False) -> Plan:
    return Plan(
        request={
            "TrainingJobName": "job",
            "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 2},
            "EnableManagedSpotTraining": True,
        },
        bundle=CodeBundle("/code", ()),
        bundle_uri=f"s3://{BUCKET}/job/source/sourcedir.tar.gz",
        image=IMAGE.name,
        max_cost_dollars=1.5,
        cloud=Cloud(REGION, ACCOUNT, ROLE, BUCKET, IMAGE, prices=Prices(1.5)),
        is_rehearsal=is_rehearsal,
    )


class Launched:
    """A job that is submitted as a test wants it, and then played."""

    def __init__(self, aws: StandInAws) -> None:
        self.sagemaker = PlayedSageMaker(described("Training"))
        self.clients = PlayedClients(aws, self.sagemaker)
        self.prints = Prints(aws)
        self.submitted: list[str] = []
        self.on_submit: Callable[[], None] = lambda: None
        self.on_describe: list[Callable[[], None]] = []
        describe = self.sagemaker.describe_training_job

        def described_then(**request: Any) -> dict[str, Any]:
            if self.on_describe:
                self.on_describe.pop(0)()
            return describe(**request)

        self.sagemaker.describe_training_job = described_then  # type: ignore[method-assign]

    def submit(self, plan: Plan, report: Callable[[str], None]) -> str:
        self.submitted.append(plan.name)
        report("uploading channel train: 1 of 2")
        self.on_submit()
        return ARN


@pytest.fixture
def launched(aws: StandInAws, state: Path, monkeypatch: pytest.MonkeyPatch) -> Launched:
    played = Launched(aws)
    aws.client("s3").create_bucket(Bucket=BUCKET)
    monkeypatch.setattr(cloud_job, "clients_of", lambda entry, **_: played.clients)
    # The SDK behind the real one takes seconds to import.
    module = types.ModuleType("sift_launcher.estimator.submit")
    module.submit_to_sagemaker = played.submit  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sift_launcher.estimator.submit", module)
    return played


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_job_is_submitted_followed_and_concluded(launched, capsysbinary):
    launched.prints("algo-1-1", "one")
    launched.prints("algo-2-1", "eins")
    launched.sagemaker.go_over_to(ended())
    launch_cloud(planned(), wait=True, as_json=False)
    out, err = capsysbinary.readouterr()
    assert out == b"algo-1 | one\nalgo-2 | eins\n"
    assert err.decode().splitlines() == [
        "uploading channel train: 1 of 2",
        "job job runs in us-east-1 on 2 x ml.g5.xlarge (spot); Ctrl-C stops it; https://us-east-1."
        "console.aws.amazon.com/sagemaker/home?region=us-east-1#/jobs/job",
        "job job completed in 90.0 s ($0.04 for 45 s billed); outputs: s3://results/job/output; "
        "sift-launch download job brings them here",
    ]


def test_a_rehearsal_says_that_it_is_one_and_costs_nothing(launched, capsys):
    launched.prints("algo-1-1", "one")
    launched.sagemaker.go_over_to(ended())
    launch_cloud(planned(is_rehearsal=True), wait=True, as_json=False)
    told = capsys.readouterr().err
    assert (
        "job job runs in a rehearsal on this machine, which plays 2 x ml.g5.xlarge (spot)" in told
    )
    assert "$" not in told


def test_without_waiting_the_name_is_all(launched, capsys):
    launch_cloud(planned(), wait=False, as_json=False)
    assert capsys.readouterr().out == "job\n"


def test_the_first_ctrl_c_stops_the_job_and_follows_it_to_its_end(launched, capsys):
    launched.sagemaker.on_stop = lambda: launched.sagemaker.go_over_to(ended("Stopped", "Stopped"))
    launched.prints("algo-1-1", "one")
    launched.on_describe = [press_ctrl_c]
    with pytest.raises(JobInterrupted, match="job job was stopped; its outputs are in s3://"):
        launch_cloud(planned(), wait=True, as_json=False)
    assert launched.sagemaker.stops == ["job"]
    assert capsys.readouterr().err.splitlines()[-1] == (
        "stopping job job and keeping its outputs; it has two minutes for it, which cost; "
        "Ctrl-C again leaves it to that"
    )


def test_the_second_ctrl_c_leaves_a_job_that_is_being_stopped(launched, capsys):
    launched.sagemaker.on_stop = press_ctrl_c
    launched.on_describe = [press_ctrl_c]
    with pytest.raises(JobInterrupted) as raised:
        launch_cloud(planned(), wait=True, as_json=False)
    assert str(raised.value) == (
        "job job is being stopped; sift-launch status job tells when it has"
    )
    assert launched.sagemaker.stops == ["job"]


def test_a_stop_that_does_not_reach_aws_says_that_the_job_goes_on(launched, capsys):
    def unreachable() -> None:
        press_ctrl_c()
        raise refusal("ServiceUnavailable", status=503)

    launched.sagemaker.on_stop = unreachable
    launched.on_describe = [press_ctrl_c]
    with pytest.raises(JobInterrupted) as raised:
        launch_cloud(planned(), wait=True, as_json=False)
    assert str(raised.value) == "job job goes on, and costs: sift-launch stop job"
    assert "job job goes on, and costs; Ctrl-C again leaves it running" in capsys.readouterr().err


def test_ctrl_c_while_the_data_goes_up_leaves_nothing_behind(launched, capsys):
    launched.on_submit = press_ctrl_c

    def unknown() -> None:
        raise refusal("ValidationException", "Requested resource not found.")

    launched.sagemaker.on_stop = unknown
    with pytest.raises(KeyboardInterrupt):
        launch_cloud(planned(), wait=True, as_json=False)
    assert capsys.readouterr().err == "uploading channel train: 1 of 2\n"


def test_ctrl_c_as_the_job_is_accepted_stops_it(launched, capsys):
    launched.on_submit = press_ctrl_c
    with pytest.raises(KeyboardInterrupt):
        launch_cloud(planned(), wait=True, as_json=False)
    assert launched.sagemaker.stops == ["job"]
    assert capsys.readouterr().err.splitlines()[-1] == (
        "job job had just been started; it is being stopped"
    )


def test_credentials_that_expire_end_the_following_and_not_the_job(launched, capsys):
    launched.sagemaker.go_over_to(described("Training"), refusal("ExpiredTokenException"))
    with pytest.raises(CredentialsError, match="have expired"):
        launch_cloud(planned(), wait=True, as_json=False)
    assert capsys.readouterr().err.splitlines()[-1] == (
        "job job goes on, and costs: sift-launch logs job --follow"
    )
    assert launched.sagemaker.stops == []


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_failure_repeats_the_last_lines_where_the_log_went_elsewhere(
    launched, capsys, monkeypatch, is_terminal
):
    launched.prints("algo-1-1", "one", "ValueError: bad")
    launched.sagemaker.go_over_to(
        ended("Failed", "Failed", FailureReason="AlgorithmError: , exit code: 1")
    )
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    with pytest.raises(JobFailed):
        launch_cloud(planned(), wait=True, as_json=False)
    repeated = capsys.readouterr().err.splitlines()[2:]
    lines = ["  algo-1 | one", "  algo-1 | ValueError: bad"]
    assert repeated == (lines if is_terminal else [])


def test_as_json_the_log_goes_to_stderr(launched, capsys):
    import json

    launched.prints("algo-1-1", "one")
    launched.sagemaker.go_over_to(ended())
    launch_cloud(planned(), wait=True, as_json=True)
    out, err = capsys.readouterr()
    assert json.loads(out)["TrainingJobStatus"] == "Completed"
    assert "algo-1 | one\n" in err


def test_an_older_job_of_the_name_elsewhere_is_not_mistaken_for_it(launched, capsys):
    elsewhere = catalogue.CloudEntry(
        "job", ARN, REGION, "ml.m5.large", 1, 1.0, endpoint="http://127.0.0.1:1", is_rehearsal=True
    )
    catalogue.remember(elsewhere)
    launched.prints("algo-1-1", "one")
    launched.sagemaker.go_over_to(ended())
    launch_cloud(planned(), wait=True, as_json=False)
    assert "$0.04" in capsys.readouterr().err
