"""Jobs of the estimator on this machine: no account, no region, no role, no S3."""

from __future__ import annotations

import copy
import io
import sys
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
import sagemaker
from sagemaker.exceptions import UnexpectedStatusException
from sagemaker.local import LocalSession

from sift_launcher.errors import (
    ChannelError,
    InstanceNotServed,
    OptionError,
    ResourceInUse,
    ResourceNotFound,
    ValidationError,
)
from sift_launcher.estimator import sdk
from sift_launcher.estimator.machine import MachineSession
from sift_launcher.estimator.pytorch import SiftPyTorch
from sift_launcher.local.service import LocalTrainingService
from smart_sifting.sift_config.job_config import SiftConfig


def estimator(**more: Any) -> SiftPyTorch:
    usual = {"source_dir": "src", "instance_type": "process", "instance_count": 1}
    return SiftPyTorch("train.py", **(usual | more))


def request_of(name: str) -> dict[str, Any]:
    return LocalTrainingService().record(name).request()


def test_a_job_runs_here_and_its_log_is_shown(machine, capfd):
    trained = estimator(hyperparameters={"lr": 0.5}, arguments=["--list", "a b"])
    trained.fit()
    told = capfd.readouterr().out
    assert 'arguments ["--lr", "0.5", "--list", "a b"]' in told
    assert told.endswith("trained\n")
    description = trained.latest_training_job.describe()
    assert description["TrainingJobStatus"] == "Completed"
    model = Path(unquote(urlparse(trained.model_data).path))
    assert model.is_relative_to(machine / "sift-output")
    with tarfile.open(model) as archive:
        assert archive.extractfile("model.txt").read() == b"learned"


def test_the_request_is_the_one_that_the_command_sends(machine):
    from sift_launcher.job_spec import JobSpec
    from sift_launcher.plan import plan
    from sift_launcher.surroundings import gather

    trained = estimator(hyperparameters={"epochs": 2}, sift_config={"keep": 0.25})
    trained.fit(wait=False, job_name="digits")
    spec = JobSpec(
        "train.py",
        source_dir=Path("src"),
        hyperparameters={"epochs": 2},
        sift_config=SiftConfig(keep=0.25),
        name="digits",
    )
    assert request_of("digits") == plan(spec, gather(spec)).request
    trained.latest_training_job.wait(logs="None")


def test_a_job_that_is_not_waited_for_is_waited_for_later(machine, capsys):
    trained = estimator()
    trained.fit(wait=False)
    job = trained.latest_training_job
    assert job.name.startswith("train-")
    job.wait(logs="None")
    assert job.describe()["TrainingJobStatus"] == "Completed"
    trained.logs()
    assert capsys.readouterr().out.endswith("trained\n")


def test_a_job_is_stopped(machine):
    Path("src/train.py").write_text("import time\ntime.sleep(600)\n")
    trained = estimator()
    trained.fit(wait=False)
    trained.latest_training_job.stop()
    trained.latest_training_job.wait(logs="None")
    assert trained.latest_training_job.describe()["TrainingJobStatus"] == "Stopped"
    trained.latest_training_job.stop()  # as in SageMaker: it has ended, and nothing happens


@pytest.mark.parametrize("logs", ["All", "None"])
def test_a_failed_job_raises_the_sdks_error_with_the_reason(logs, machine):
    with pytest.raises(UnexpectedStatusException, match=r"Failed\. Reason: exit code 3"):
        estimator(arguments=["--fail"]).fit(logs=logs)


def test_a_job_of_this_machine_is_attached_to_by_its_name(machine):
    first = estimator(
        sift_config={"keep": 0.25},
        hyperparameters={"lr": 0.5},
        arguments=["-v"],
        environment={"A": "1"},
    )
    first.fit(wait=False, job_name="digits")
    again = SiftPyTorch.attach("digits")
    assert again.sift_config == SiftConfig(keep=0.25)
    assert again.arguments == ("-v",)
    assert again.instance_type == "process"
    assert again.environment == {"A": "1"}
    assert again.hyperparameters()["lr"] == "0.5"
    assert again.model_data == first.model_data
    assert again.latest_training_job.describe()["TrainingJobStatus"] == "Completed"
    with pytest.raises(ResourceNotFound, match="no job is named 'other'"):
        SiftPyTorch.attach("other", sagemaker_session=MachineSession())


def test_a_plain_job_stays_plain_when_it_is_attached_to(machine):
    estimator(sift_config=None).fit(wait=False, job_name="plain")
    again = SiftPyTorch.attach("plain")
    assert again.sift_config is None
    assert "sift_config" not in again.hyperparameters()


def test_data_is_named_by_its_path_or_address(machine, capfd):
    (machine / "data set").mkdir()
    (machine / "data set/a.csv").write_text("1\n")
    for inputs in ({"train": "data set"}, {"train": Path("data set")}):
        estimator().fit(inputs)
        assert "data ['a.csv']" in capfd.readouterr().out
    address = f"file://{machine}/data%20set"
    estimator().fit(address, wait=False, job_name="default-channel")
    (channel,) = request_of("default-channel")["InputDataConfig"]
    assert channel == {
        "ChannelName": "training",
        "DataSource": {
            "FileDataSource": {"FileDataDistributionType": "FullyReplicated", "FileUri": address}
        },
    }
    with pytest.raises(ChannelError, match=r"channel train: .*/nowhere does not exist"):
        estimator().fit({"train": "nowhere"})


def test_data_is_spread_and_streamed_as_it_is_asked_for(machine):
    (machine / "data").mkdir()
    (machine / "data/a.csv").write_text("1\n")
    spread = sdk.TrainingInput("data", distribution="ShardedByS3Key", input_mode="FastFile")
    trained = estimator()
    trained.fit({"train": spread}, wait=False, job_name="spread")
    (channel,) = request_of("spread")["InputDataConfig"]
    assert channel == {
        "ChannelName": "train",
        "DataSource": {
            "FileDataSource": {
                "FileDataDistributionType": "ShardedByS3Key",
                "FileUri": f"file://{machine}/data",
            }
        },
        "InputMode": "FastFile",
    }
    assert spread.config["DataSource"]["S3DataSource"]["S3Uri"] == "data"
    trained.latest_training_job.wait(logs="None")


def test_what_only_the_cloud_needs_may_be_there_and_does_no_harm(machine):
    trained = estimator(
        role="SageMakerRole",
        image_uri="123456789012.dkr.ecr.us-east-1.amazonaws.com/own:1",
        max_run=60,
        volume_size=100,
        tags=[{"Key": "team", "Value": "vision"}],
    )
    trained.fit(wait=False, job_name="digits")
    sent = request_of("digits")
    assert sent["RoleArn"] == "arn:aws:iam::000000000000:role/SageMakerRole"
    assert sent["AlgorithmSpecification"]["TrainingImage"].endswith(sys.executable)
    assert sent["StoppingCondition"] == {"MaxRuntimeInSeconds": 60}
    trained.latest_training_job.wait(logs="None")


def test_a_request_that_is_refused_leaves_nothing_behind(machine):
    with pytest.raises(ValidationError, match="a_b"):
        estimator().fit(job_name="a_b")
    assert not (machine / "sift-output").exists()
    trained = estimator()
    trained.fit(wait=False, job_name="digits")
    with pytest.raises(ResourceInUse, match="digits"):
        estimator().fit(job_name="digits")
    trained.latest_training_job.wait(logs="None")


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"output_path": "s3://bucket/out"}, r"output_path s3://bucket/out is in S3"),
        ({"sagemaker_session": object()}, "leave sagemaker_session out"),
        ({"hyperparameters": {"sift_config": "{}"}}, "hyperparameter sift_config .* sift_config="),
    ],
)
def test_what_contradicts_this_machine_is_refused(keywords, told, machine):
    with pytest.raises(OptionError, match=told):
        estimator(**keywords)


def test_to_the_sdk_the_session_is_a_local_one(machine):
    session = estimator().sagemaker_session
    assert isinstance(session, LocalSession)
    assert isinstance(session, sagemaker.Session)
    assert copy.deepcopy(session) is session
    with pytest.raises(InstanceNotServed, match="create_endpoint is SageMaker's"):
        session.sagemaker_client.create_endpoint(EndpointName="digits")


def test_a_notebook_takes_text_alone(machine, monkeypatch):
    Path("src/train.py").write_text("print('\\N{GREEK SMALL LETTER LAMDA} = 1')\n")
    notebook = io.StringIO()
    monkeypatch.setattr(sys, "stdout", notebook)
    estimator(sift_config=None).fit()
    assert "λ = 1" in notebook.getvalue()


def test_a_container_of_ours_is_asked_for_unless_another_is_named(machine):
    assert estimator(instance_type="local").training_image_uri() == "sift-training:cpu"
    assert estimator(instance_type="local_gpu").training_image_uri() == "sift-training:gpu"
    assert estimator(instance_type="local", image_uri="own:1").training_image_uri() == "own:1"
    of_a_version = estimator(
        instance_type="local", framework_version="2.8.0", py_version="py312"
    ).training_image_uri()
    assert of_a_version.startswith("763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:")
