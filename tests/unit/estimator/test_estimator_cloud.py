"""The estimator's jobs in SageMaker, and estimators that become sifted ones."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest
from aws_stand_in import ACCOUNT, ROLE, StandInAws

from sift_launcher import catalogue
from sift_launcher.errors import ChannelError, OptionError, SecretFound, SiftConfigError
from sift_launcher.estimator.machine import MachineSession
from sift_launcher.estimator.pytorch import SiftPyTorch, sift
from sift_launcher.estimator.sdk import LocalSession, PyTorch, Session
from sift_launcher.estimator.session import SiftSession
from smart_sifting.sift_config.job_config import SiftConfig

BUCKET = f"sagemaker-us-east-1-{ACCOUNT}"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/own:1"
ON_ONE = {"source_dir": "src", "instance_count": 1, "role": ROLE}


@pytest.fixture
def work(machine: Path, aws: StandInAws) -> Path:
    """The folder of the user's, with an account."""
    return machine


def sent_by(estimator: Any) -> list[dict[str, Any]]:
    """The requests of jobs that `estimator` sends from now on; moto does not keep all of them."""
    sent: list[dict[str, Any]] = []
    events = estimator.sagemaker_session.sagemaker_client.meta.events
    event = "provide-client-params.sagemaker.CreateTrainingJob"
    events.register(event, lambda params, **more: sent.append(copy.deepcopy(params)))
    return sent


def sent_while(estimator: Any, name: str) -> list[dict[str, Any]]:
    sent = sent_by(estimator)
    estimator.fit(wait=False, job_name=name)
    return sent


def test_a_wrong_configuration_is_refused_before_anything_is_connected_to(machine):
    with pytest.raises(SiftConfigError, match="keep is 2"):
        SiftPyTorch("train.py", instance_type="ml.m5.xlarge", sift_config={"keep": 2}, **ON_ONE)


def test_a_configuration_is_checked_when_it_is_changed(machine):
    estimator = SiftPyTorch("train.py", instance_type="process", **ON_ONE)
    assert estimator.sift_config == SiftConfig()
    estimator.sift_config = '{"keep": 0.25}'
    assert estimator.sift_config == SiftConfig(keep=0.25)
    with pytest.raises(SiftConfigError, match="keep is 0"):
        estimator.sift_config = {"keep": 0}


def test_by_default_it_runs_in_aws_own_image(work):
    estimator = SiftPyTorch("train.py", instance_type="ml.g5.xlarge", **ON_ONE)
    assert estimator.training_image_uri() == (
        "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cu133-amzn2023-sagemaker"
    )
    of_a_version = SiftPyTorch("train.py", "2.8.0", "py312", instance_type="ml.m5.xlarge", **ON_ONE)
    assert of_a_version.training_image_uri().endswith("/pytorch-training:2.8.0-cpu-py312")
    own = SiftPyTorch("train.py", image_uri=IMAGE, instance_type="ml.m5.xlarge", **ON_ONE)
    assert own.training_image_uri() == IMAGE


def test_the_runtime_travels_with_the_code_once_for_all_fits(work):
    estimator = SiftPyTorch(
        "train.py", instance_type="ml.m5.xlarge", environment={"PYTHONPATH": "/own"}, **ON_ONE
    )
    wanted = {
        "PYTHONPATH": "/opt/ml/code/.sift/sift_entrypoint/site:/opt/ml/code/.sift:/own",
    }
    sent = sent_by(estimator)
    estimator.fit(wait=False)
    estimator.fit(wait=False)
    assert [each["Environment"] for each in sent] == [wanted, wanted]


def test_a_job_is_attached_to_with_its_configuration(work, monkeypatch):
    first = SiftPyTorch(
        "train.py",
        instance_type="ml.m5.xlarge",
        hyperparameters={"lr": 0.5},
        sift_config={"keep": 0.25},
        arguments=["-v"],
        **ON_ONE,
    )
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # attaching waits for the job
    (before,) = sent_while(first, "digits")
    again = SiftPyTorch.attach("digits")
    assert again.sift_config == SiftConfig(keep=0.25)
    assert again.arguments == ("-v",)
    assert again.output_kms_key is None
    (after,) = sent_while(again, "digits-again")
    for key in ("ResourceConfig", "OutputDataConfig"):
        assert after[key] == before[key]
    assert json.loads(after["HyperParameters"]["sagemaker_submit_directory"]) == (
        f"s3://{BUCKET}/digits/source/sourcedir.tar.gz"
    )
    assert after["HyperParameters"]["sift_config"] == before["HyperParameters"]["sift_config"]


def test_a_job_that_was_launched_elsewhere_is_found_where_it_is(work, aws, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    SiftPyTorch("train.py", instance_type="ml.m5.xlarge", **ON_ONE).fit(wait=False, job_name="far")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    entry = catalogue.entry("far")
    assert (entry.region, entry.instance, entry.endpoint) == (
        "eu-west-1",
        "ml.m5.xlarge",
        aws.endpoint,
    )
    assert SiftPyTorch.attach("far").sagemaker_session.boto_region_name == "eu-west-1"


def test_a_job_whose_key_is_told_as_an_empty_one_has_none(work):
    estimator = SiftPyTorch("train.py", instance_type="ml.m5.xlarge", **ON_ONE)
    estimator.fit(wait=False)
    description = estimator.latest_training_job.describe()
    description["OutputDataConfig"]["KmsKeyId"] = ""  # as SageMaker does, and moto does not
    params = SiftPyTorch._prepare_init_params_from_job_description(description)
    assert params["output_kms_key"] is None


def test_the_log_is_shown_as_cloudwatch_has_it(work, aws, capfd):
    estimator = SiftPyTorch("train.py", instance_type="ml.m5.xlarge", **ON_ONE)
    estimator.fit(wait=False, job_name="logged")
    logs, group = aws.client("logs"), "/aws/sagemaker/TrainingJobs"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="logged/algo-1-1700000000")
    logs.put_log_events(
        logGroupName=group,
        logStreamName="logged/algo-1-1700000000",
        logEvents=[{"timestamp": int(time.time() * 1000), "message": "epoch 1"}],
    )
    estimator.sagemaker_session.logs_for_job("logged")
    assert capfd.readouterr().out == "epoch 1\n"
    estimator.logs()
    assert capfd.readouterr().out == "epoch 1\n"


def test_data_of_this_machine_is_uploaded_once(work):
    Path("data").mkdir()
    Path("data/a.csv").write_text("1\n")
    estimator = SiftPyTorch("train.py", instance_type="ml.m5.xlarge", **ON_ONE)
    places = set()
    sent = sent_by(estimator)
    for inputs in ({"training": "data"}, f"file://{work}/data", Path("data")):
        estimator.fit(inputs, wait=False)
        (channel,) = sent[-1]["InputDataConfig"]
        assert channel["ChannelName"] == "training"
        places.add(channel["DataSource"]["S3DataSource"]["S3Uri"])
    (place,) = places
    assert place.startswith(f"s3://{BUCKET}/sift-data/")
    with pytest.raises(ChannelError, match=r"channel training: .*nowhere does not exist"):
        estimator.fit("nowhere", wait=False)


def test_a_secret_among_the_hyperparameters_goes_nowhere(work):
    key = "8f3kd02lsl39dkk20dlsl"
    for values in ({"hyperparameters": {"api_key": key}}, {"environment": {"API_KEY": key}}):
        estimator = SiftPyTorch("train.py", instance_type="ml.m5.xlarge", **values, **ON_ONE)
        with pytest.raises(SecretFound, match=r"(?i)api_key looks like a secret"):
            estimator.fit(wait=False)
        assert estimator.latest_training_job is None
        estimator.allow = ("secret-name",)
        estimator.fit(wait=False)


def test_an_estimator_can_be_copied(work):
    estimator = SiftPyTorch("train.py", instance_type="ml.m5.xlarge", **ON_ONE)
    other = copy.deepcopy(estimator)
    other.sift_config = {"keep": 0.25}
    (sent,) = sent_while(other, "digits")
    assert estimator.sift_config == SiftConfig()
    assert json.loads(json.loads(sent["HyperParameters"]["sift_config"]))["keep"] == 0.25


def plain(kind: type = PyTorch, **more: Any) -> Any:
    usual = {"image_uri": IMAGE, "instance_type": "ml.m5.xlarge", **ON_ONE}
    return kind("train.py", **(usual | more))


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK does not speak of its version 2 to those who made an estimator of it by hand."""
    monkeypatch.setenv("SAGEMAKER_SUPPRESS_V2_WARNING", "1")


def test_an_estimator_that_exists_becomes_a_sifted_one(work, quiet):
    estimator = plain(sagemaker_session=Session(default_bucket="own-bucket"))
    sifted = sift(estimator, {"keep": 0.25}, arguments=["-v"])
    assert sifted is estimator
    assert isinstance(sifted, SiftPyTorch)
    (sent,) = sent_while(sifted, "digits")
    values = sent["HyperParameters"]
    assert json.loads(json.loads(values["sift_config"]))["keep"] == 0.25
    assert json.loads(json.loads(values["sift_arguments"])) == ["-v"]
    assert sent["Environment"]["PYTHONPATH"].startswith("/opt/ml/code/.sift/")


class Own(PyTorch):
    """Somebody's own kind of estimator."""

    def greeting(self) -> str:
        return "hello"


def test_an_estimator_of_ones_own_kind_stays_one(work, quiet):
    sifted = sift(plain(Own, sagemaker_session=SiftSession()))
    assert isinstance(sifted, Own)
    assert sifted.greeting() == "hello"
    assert "sift_config" in sifted.hyperparameters()


def test_an_estimator_of_the_sdks_local_mode_runs_on_our_service(machine, aws, quiet):
    local = plain(instance_type="local", sagemaker_session=LocalSession())
    sifted = sift(local, None)
    assert isinstance(sifted.sagemaker_session, MachineSession)
    assert sifted.output_path == f"file://{machine}/sift-output"


def test_only_a_pytorch_estimator_can_be_sifted(machine):
    with pytest.raises(OptionError, match="and this is a dict"):
        sift({})


def test_a_sifted_estimator_gets_another_configuration(machine):
    estimator = SiftPyTorch("train.py", instance_type="process", **ON_ONE)
    assert sift(estimator, {"keep": 0.25}) is estimator
    assert estimator.sift_config == SiftConfig(keep=0.25)
