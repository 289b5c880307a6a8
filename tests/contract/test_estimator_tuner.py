"""The estimator where the SDK takes one: hyperparameter tuning, and pipelines."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from aws_stand_in import ACCOUNT, REGION, ROLE, StandInAws

from sift_launcher.estimator.pytorch import SiftPyTorch
from sift_launcher.estimator.sdk import PipelineSession
from sift_launcher.estimator.session import SiftSession
from smart_sifting.sift_config.job_config import SiftConfig

BUCKET = f"sagemaker-{REGION}-{ACCOUNT}"
PYTHON_PATH = "/opt/ml/code/.sift/sift_entrypoint/site:/opt/ml/code/.sift"


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*SageMaker Python SDK v2"),
    pytest.mark.filterwarnings("ignore:Running within a PipelineSession"),
]


@pytest.fixture
def source(aws: StandInAws, tmp_path: Path) -> str:
    (tmp_path / "train.py").write_text("print('loss 0.1')\n")
    return str(tmp_path)


def estimator(source: str, session: Any) -> SiftPyTorch:
    return SiftPyTorch(
        "train.py",
        source_dir=source,
        sift_config={"keep": 0.25},
        arguments=["-v"],
        instance_type="ml.m5.xlarge",
        instance_count=1,
        role=ROLE,
        sagemaker_session=session,
    )


def names_in(session: SiftSession, uri: str) -> list[str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    body = session.s3_client.get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        return archive.getnames()


def test_tuning_jobs_are_sifted_and_carry_our_code(source):
    from sagemaker.tuner import ContinuousParameter, HyperparameterTuner

    session = SiftSession()
    sent: list[dict[str, Any]] = []
    event = "provide-client-params.sagemaker.CreateHyperParameterTuningJob"
    session.sagemaker_client.meta.events.register(event, lambda params, **more: sent.append(params))
    tuner = HyperparameterTuner(
        estimator(source, session),
        "loss",
        {"lr": ContinuousParameter(0.1, 1)},
        metric_definitions=[{"Name": "loss", "Regex": "loss (.*)"}],
        max_jobs=2,
    )
    tuner.fit(wait=False, job_name="tuned")
    job = sent[0]["TrainingJobDefinition"]
    values = {name: json.loads(text) for name, text in job["StaticHyperParameters"].items()}
    assert SiftConfig.parse(values["sift_config"]) == SiftConfig(keep=0.25)
    assert json.loads(values["sift_arguments"]) == ["-v"]
    assert job["Environment"] == {"PYTHONPATH": PYTHON_PATH}
    names = names_in(session, values["sagemaker_submit_directory"])
    assert {"train.py", ".sift/sift_entrypoint/train.py"} <= set(names)

    class_of = (values["sagemaker_estimator_module"], values["sagemaker_estimator_class_name"])
    assert class_of == ("sift_launcher.estimator.pytorch", "SiftPyTorch")


def test_a_tuning_job_is_attached_to_with_its_configuration(source):
    from sagemaker.tuner import HyperparameterTuner

    session = SiftSession()
    original = estimator(source, session)
    original._prepare_for_training("tuned")
    values = original.hyperparameters() | {
        "_tuning_objective_metric": "loss",
        "sagemaker_estimator_module": json.dumps("sift_launcher.estimator.pytorch"),
        "sagemaker_estimator_class_name": json.dumps("SiftPyTorch"),
    }
    description = {
        "HyperParameterTuningJobName": "tuned",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 1},
            "TrainingJobEarlyStoppingType": "Off",
            "ParameterRanges": {
                "CategoricalParameterRanges": [],
                "IntegerParameterRanges": [],
                "ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0.1", "MaxValue": "1"}],
            },
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": values,
            "AlgorithmSpecification": {
                "TrainingImage": original.training_image_uri(),
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss (.*)"}],
            },
            "RoleArn": ROLE,
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/", "KmsKeyId": ""},
            "ResourceConfig": {
                "InstanceType": "ml.m5.xlarge",
                "InstanceCount": 1,
                "VolumeSizeInGB": 30,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        },
    }
    tuner = HyperparameterTuner.attach("tuned", session, job_details=description)
    assert type(tuner.estimator) is SiftPyTorch
    assert tuner.estimator.sift_config == SiftConfig(keep=0.25)
    assert tuner.estimator.arguments == ("-v",)


def test_a_step_of_a_pipeline_is_sifted_when_it_runs(source):
    from sagemaker.inputs import TrainingInput
    from sagemaker.workflow.parameters import ParameterString
    from sagemaker.workflow.pipeline import Pipeline
    from sagemaker.workflow.steps import TrainingStep

    session = PipelineSession(default_bucket=BUCKET)
    data = ParameterString(name="data")
    step = TrainingStep(
        name="train", step_args=estimator(source, session).fit({"train": TrainingInput(data)})
    )
    pipeline = Pipeline("digits", parameters=[data], steps=[step], sagemaker_session=session)
    (made,) = json.loads(pipeline.definition())["Steps"]
    arguments = made["Arguments"]
    values = {name: json.loads(text) for name, text in arguments["HyperParameters"].items()}
    assert SiftConfig.parse(values["sift_config"]) == SiftConfig(keep=0.25)
    assert arguments["Environment"] == {"PYTHONPATH": PYTHON_PATH}
    assert arguments["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == {
        "Get": "Parameters.data"
    }
    assert values["sagemaker_submit_directory"].startswith(f"s3://{BUCKET}/digits/code/")
    assert ".sift/sift_entrypoint/train.py" in names_in(
        SiftSession(), values["sagemaker_submit_directory"]
    )
