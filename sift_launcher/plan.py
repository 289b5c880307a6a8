"""From what the user asked for to the request that any training service takes. Pure.

spec, surroundings ─► plan ─► CreateTrainingJob request
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from sift_launcher import carried
from sift_launcher.bundle import CodeBundle
from sift_launcher.errors import OptionError
from sift_launcher.instances import TORCHRUN, check_instance, check_options
from sift_launcher.job_spec import HyperParameter, JobSpec
from sift_launcher.local.machine import MachineShare
from sift_launcher.paths import file_uri
from sift_launcher.surroundings import Docker, Surroundings
from sift_launcher.validation import (
    check_channels,
    check_environment,
    check_hyperparameters,
    check_job_name,
    check_max_run,
    legal_name,
)

Request: TypeAlias = dict[str, Any]

# Nothing here has a role; the request has one, so that it is whole wherever it is sent.
LOCAL_ROLE = "arn:aws:iam::000000000000:role/sift-launcher-local"
_DISTRIBUTED = "sagemaker_torch_distributed_enabled"
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
    """The most the job can cost, in US dollars; on this machine it costs nothing."""

    share: MachineShare = field(default_factory=MachineShare)
    """What each container gets of this machine; a process gets what there is."""

    note: str | None = None
    """What the user should know of it before it starts, in one line."""

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
            "share": self.share.to_dict(),
            "note": self.note,
        }


def plan(spec: JobSpec, surroundings: Surroundings) -> Plan:
    """The plan of `spec`. Has no effects, and is equal for equal arguments.

    Raises InstanceNotServed, ValidationError or OptionError with what to type instead.
    """
    check(spec)
    docker = surroundings.docker
    if docker is not None:
        spec.share.check(docker.engine)
    name = spec.name if spec.name is not None else _job_name(surroundings)
    check_job_name(name)
    output = file_uri(surroundings.output)
    bundle_uri = f"{output}/{name}/source/sourcedir.tar.gz"
    hyperparameters = _hyperparameters(spec, surroundings, name, bundle_uri)
    check_hyperparameters(hyperparameters)
    image = docker.image.name if docker else file_uri(surroundings.python)
    request: Request = {
        "TrainingJobName": name,
        "AlgorithmSpecification": _algorithm(image, docker),
        "RoleArn": LOCAL_ROLE,
        "HyperParameters": hyperparameters,
        "OutputDataConfig": {"S3OutputPath": output},
        "CheckpointConfig": {
            "S3Uri": f"{output}/{name}/checkpoints",
            "LocalPath": "/opt/ml/checkpoints",
        },
        "ResourceConfig": {
            "InstanceType": spec.instance,
            "InstanceCount": spec.count,
            "VolumeSizeInGB": 30,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": spec.max_run_seconds},
    }
    # The service refuses empty lists.
    if surroundings.channels:
        request["InputDataConfig"] = [
            _channel(channel, path) for channel, path in surroundings.channels.items()
        ]
    if environment := _environment(spec, docker):
        check_environment(environment)
        request["Environment"] = environment
    is_carrying = docker is not None and bool(docker.runtime)
    return Plan(
        request,
        _bundle(surroundings),
        bundle_uri,
        image,
        max_cost_dollars=0.0,
        share=spec.share,
        note=carried.note(docker.image) if docker and is_carrying else None,
    )


def check(spec: JobSpec) -> None:
    """All that can be said against `spec` without looking at this machine.

    Raises InstanceNotServed, ValidationError or OptionError.
    """
    check_instance(spec.instance)
    check_options(spec)
    if spec.distribution is not None and _DISTRIBUTED in spec.hyperparameters:
        raise OptionError(
            f"--distribution and -p {_DISTRIBUTED} say the same thing twice: give one of them"
        )
    if spec.name is not None:
        check_job_name(spec.name)
    check_channels(spec.channels)
    check_environment(spec.environment)
    check_max_run(spec.max_run_seconds)


def _algorithm(image: str, docker: Docker | None) -> dict[str, Any]:
    algorithm: dict[str, Any] = {"TrainingImage": image, "TrainingInputMode": "File"}
    if docker is not None and docker.image.kind == "plain":
        algorithm["ContainerEntrypoint"] = list(carried.ENTRYPOINT)
        algorithm["ContainerArguments"] = ["train"]
    return algorithm


def _environment(spec: JobSpec, docker: Docker | None) -> dict[str, str]:
    environment = dict(spec.environment)
    if docker is not None and docker.runtime:
        own = environment.get("PYTHONPATH", docker.image.python_path)
        environment["PYTHONPATH"] = carried.python_path(own)
    return environment


def _bundle(surroundings: Surroundings) -> CodeBundle:
    bundle, docker = surroundings.bundle, surroundings.docker
    if docker is None or not docker.runtime:
        return bundle
    files = sorted((*bundle.files, *docker.runtime), key=lambda file: file.path)
    return replace(bundle, files=tuple(files))


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
    if _is_distributed(spec):
        values.setdefault(_DISTRIBUTED, True)
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


def _is_distributed(spec: JobSpec) -> bool:
    if spec.distribution is not None:
        return spec.distribution == TORCHRUN
    return spec.count > 1 and spec.script.endswith(".py")


def encode(values: Mapping[str, HyperParameter]) -> dict[str, str]:
    """Hyperparameters as the estimator sends them: every value as JSON text."""
    return {key: json.dumps(value) for key, value in values.items()}


def _channel(name: str, path: str) -> dict[str, Any]:
    source = {"FileDataDistributionType": "FullyReplicated", "FileUri": file_uri(path)}
    return {"ChannelName": name, "DataSource": {"FileDataSource": source}}
