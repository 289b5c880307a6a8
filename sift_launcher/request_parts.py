"""What a request has in common wherever it is sent: names, hyperparameters, metrics. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from sift_launcher import carried
from sift_launcher.errors import OptionError
from sift_launcher.images import ImageFacts
from sift_launcher.instances import TORCHRUN
from sift_launcher.job_spec import HyperParameter, JobSpec
from sift_launcher.surroundings import Surroundings
from sift_launcher.validation import legal_name

Request: TypeAlias = dict[str, Any]

DISTRIBUTED = "sagemaker_torch_distributed_enabled"
SUBMIT_DIRECTORY = "sagemaker_submit_directory"
_OWN_HYPERPARAMETERS = {
    "sift_config": "--keep, --beta, --sift-delay, --loss or --sift-config",
    "sift_arguments": "-- and the arguments",
    "sagemaker_program": "the script's name",
    SUBMIT_DIRECTORY: "--source-dir",
    "sagemaker_job_name": "--name",
    "sagemaker_region": "--region",
    "sagemaker_container_log_level": "nothing: the launcher sets it",
}


def job_name(spec: JobSpec, surroundings: Surroundings) -> str:
    """The wished name, else one of the script's name, the time and a few random letters."""
    if spec.name is not None:
        return spec.name
    tail = f"{surroundings.now:%Y%m%d-%H%M%S}-{surroundings.name_seed}"
    stem = legal_name(PurePosixPath(surroundings.program).stem)[: 62 - len(tail)].rstrip("-")
    return f"{stem or 'job'}-{tail}"


def hyperparameters(
    spec: JobSpec, surroundings: Surroundings, name: str, code: str
) -> dict[str, HyperParameter]:
    """The user's and the launcher's, not encoded yet; the job finds its code at `code`.

    Raises OptionError for those of the user's that are the launcher's own.
    """
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
        SUBMIT_DIRECTORY: code,
        "sagemaker_program": surroundings.program,
        "sagemaker_container_log_level": 20,
        "sagemaker_job_name": name,
    }
    if is_distributed(spec):
        values[DISTRIBUTED] = True
    return values


def is_distributed(spec: JobSpec) -> bool:
    """Whether torchrun shall start the script, and no hyperparameter of the user's decides it."""
    if DISTRIBUTED in spec.hyperparameters:
        return False
    if spec.distribution is not None:
        return spec.distribution == TORCHRUN
    return spec.count > 1 and spec.script.endswith(".py")


def encode(values: Mapping[str, HyperParameter]) -> dict[str, str]:
    """Hyperparameters as the estimator sends them: every value as JSON text."""
    return {key: json.dumps(value) for key, value in values.items()}


def environment(spec: JobSpec, image: ImageFacts | None, carries_runtime: bool) -> dict[str, str]:
    """The job's variables; those of a runtime that travels make every Python process find it."""
    values = dict(spec.environment)
    if image is not None and carries_runtime:
        values["PYTHONPATH"] = carried.python_path(values.get("PYTHONPATH", image.python_path))
    return values


def metric_definitions(spec: JobSpec) -> list[dict[str, str]]:
    """The metrics as the service takes them."""
    return [{"Name": name, "Regex": regex} for name, regex in spec.metrics.items()]


def tags(spec: JobSpec) -> list[dict[str, str]]:
    """The tags as the service takes them."""
    return [{"Key": key, "Value": value} for key, value in spec.tags.items()]


def distribution_type(sharded: bool) -> str:
    """How the files of a channel are spread over the hosts."""
    return "ShardedByS3Key" if sharded else "FullyReplicated"


def s3_channel(name: str, uri: str, sharded: bool, input_mode: str | None) -> dict[str, Any]:
    """A channel whose data lies in S3."""
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": uri,
        "S3DataDistributionType": distribution_type(sharded),
    }
    return channel(name, {"S3DataSource": source}, input_mode)


def channel(name: str, source: dict[str, Any], input_mode: str | None) -> dict[str, Any]:
    """A channel of any kind."""
    mode = {} if input_mode is None else {"InputMode": input_mode}
    return {"ChannelName": name, "DataSource": source} | mode
