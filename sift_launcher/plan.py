"""From what the user asked for to the request that any training service takes. Pure.

spec, surroundings ─► plan ─► CreateTrainingJob request
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from sift_launcher.bundle import CodeBundle
from sift_launcher.errors import InstanceNotServed, OptionError
from sift_launcher.job_spec import HyperParameter, JobSpec
from sift_launcher.paths import file_uri
from sift_launcher.surroundings import Surroundings
from sift_launcher.validation import (
    check_channels,
    check_environment,
    check_hyperparameters,
    check_job_name,
    check_max_run,
    legal_name,
)

Request: TypeAlias = dict[str, Any]

# A process has no role; the request has one, so that it is whole wherever it is sent.
LOCAL_ROLE = "arn:aws:iam::000000000000:role/sift-launcher-local"
SERVED_INSTANCES = ("process",)
_OWN_HYPERPARAMETERS = {
    "sift_config": "--keep, --beta, --sift-delay, --loss or --sift-config",
    "sift_arguments": "-- and the arguments",
    "sagemaker_program": "the script's name",
    "sagemaker_submit_directory": "--source-dir",
    "sagemaker_job_name": "--name",
    "sagemaker_container_log_level": "nothing: the launcher sets it",
}


@dataclass(frozen=True)
class Plan:
    """What would be done, complete: printing it is the dry run, submitting it is the job."""

    request: Request
    """The CreateTrainingJob request, exactly as the service gets it."""

    bundle: CodeBundle
    """The code that is packed to `bundle_uri` before the request is sent."""

    bundle_uri: str
    image: str
    """What the job runs in: an image's name, or `file://` and the interpreter of a process."""

    max_cost_dollars: float
    """The most the job can cost, in US dollars; a process costs nothing."""

    @property
    def name(self) -> str:
        """The job's name."""
        return str(self.request["TrainingJobName"])

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain data, for printing as JSON."""
        return {
            "request": self.request,
            "bundle": asdict(self.bundle) | {"size_bytes": self.bundle.size},
            "bundle_uri": self.bundle_uri,
            "image": self.image,
            "max_cost_dollars": self.max_cost_dollars,
        }


def plan(spec: JobSpec, surroundings: Surroundings) -> Plan:
    """The plan of `spec`. Has no effects, and is equal for equal arguments.

    Raises InstanceNotServed, ValidationError or OptionError with what to type instead.
    """
    check_instance(spec.instance)
    name = spec.name if spec.name is not None else _job_name(surroundings)
    check_job_name(name)
    check_channels(spec.channels)
    check_environment(spec.environment)
    check_max_run(spec.max_run_seconds)
    output = file_uri(surroundings.output)
    bundle_uri = f"{output}/{name}/source/sourcedir.tar.gz"
    hyperparameters = _hyperparameters(spec, surroundings, name, bundle_uri)
    check_hyperparameters(hyperparameters)
    image = file_uri(surroundings.python)
    request: Request = {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "RoleArn": LOCAL_ROLE,
        "HyperParameters": hyperparameters,
        "OutputDataConfig": {"S3OutputPath": output},
        "CheckpointConfig": {
            "S3Uri": f"{output}/{name}/checkpoints",
            "LocalPath": "/opt/ml/checkpoints",
        },
        "ResourceConfig": {
            "InstanceType": spec.instance,
            "InstanceCount": 1,
            "VolumeSizeInGB": 30,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": spec.max_run_seconds},
    }
    # The service refuses empty lists.
    if surroundings.channels:
        request["InputDataConfig"] = [
            _channel(channel, path) for channel, path in surroundings.channels.items()
        ]
    if spec.environment:
        request["Environment"] = dict(spec.environment)
    return Plan(request, surroundings.bundle, bundle_uri, image, max_cost_dollars=0.0)


def check_instance(instance: str) -> None:
    """Raises InstanceNotServed, naming what to use, unless this build runs jobs on `instance`."""
    if instance in SERVED_INSTANCES:
        return
    use = "use --instance process, which runs the script in a process on this machine"
    if instance in ("local", "local_gpu"):
        raise InstanceNotServed(f"this build cannot run in Docker (--instance {instance}): {use}")
    if instance.startswith("ml."):
        raise InstanceNotServed(
            f"this build cannot launch jobs in SageMaker (--instance {instance}): {use}"
        )
    near = get_close_matches(instance, SERVED_INSTANCES, n=1, cutoff=0.5)
    hint = " (did you mean process?)" if near else ""
    raise InstanceNotServed(f"unknown instance {instance!r}{hint}: {use}")


def _job_name(surroundings: Surroundings) -> str:
    tail = f"{surroundings.now:%Y%m%d-%H%M%S}-{surroundings.name_seed}"
    stem = legal_name(PurePosixPath(surroundings.program).stem)[: 62 - len(tail)].rstrip("-")
    return f"{stem or 'job'}-{tail}"


def _hyperparameters(
    spec: JobSpec, surroundings: Surroundings, name: str, bundle_uri: str
) -> dict[str, str]:
    for key in spec.hyperparameters:
        if key in _OWN_HYPERPARAMETERS:
            raise OptionError(
                f"hyperparameter {key} is the launcher's own: use {_OWN_HYPERPARAMETERS[key]}"
            )
    values: dict[str, HyperParameter] = dict(spec.hyperparameters)
    if spec.sift_config is not None:
        values["sift_config"] = spec.sift_config.to_json()
    if spec.arguments:
        values["sift_arguments"] = json.dumps(list(spec.arguments))
    values |= {
        "sagemaker_submit_directory": bundle_uri,
        "sagemaker_program": surroundings.program,
        "sagemaker_container_log_level": 20,
        "sagemaker_job_name": name,
    }
    return encode(values)


def encode(values: Mapping[str, HyperParameter]) -> dict[str, str]:
    """Hyperparameters as the estimator sends them: every value as JSON text."""
    return {key: json.dumps(value) for key, value in values.items()}


def _channel(name: str, path: str) -> dict[str, Any]:
    source = {"FileDataDistributionType": "FullyReplicated", "FileUri": file_uri(path)}
    return {"ChannelName": name, "DataSource": {"FileDataSource": source}}
