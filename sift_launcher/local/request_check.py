"""Whether the service on this machine can serve a request: all that is cheap to know beforehand.

Source of the fields: the API reference of CreateTrainingJob.
"""

from __future__ import annotations

from typing import Any

from sift_launcher.errors import ValidationError
from sift_launcher.instances import is_container
from sift_launcher.local.tree import BASE, channel_path, checkpoints_path, code_archive
from sift_launcher.paths import local_path
from sift_launcher.validation import (
    check_channels,
    check_environment,
    check_hyperparameters,
    check_job_name,
    check_max_run,
)

_REQUIRED = {
    "TrainingJobName": (),
    "AlgorithmSpecification": ("TrainingImage",),
    "OutputDataConfig": ("S3OutputPath",),
    "ResourceConfig": ("InstanceType", "InstanceCount"),
    "StoppingCondition": ("MaxRuntimeInSeconds",),
}
_COMMANDS = ("ContainerEntrypoint", "ContainerArguments")


def runs_in_containers(request: dict[str, Any]) -> bool:
    """Whether the request asks for Docker rather than for a process."""
    return is_container(request["ResourceConfig"]["InstanceType"])


def check_request(request: dict[str, Any]) -> None:
    """Raises ValidationError unless this machine, given a fit image, can serve `request`."""
    for key, inner in _REQUIRED.items():
        missing = [key] if key not in request else [k for k in inner if k not in request[key]]
        if missing:
            raise ValidationError(f"the request lacks {'.'.join({key: 0, missing[0]: 0})}")
    check_job_name(request["TrainingJobName"])
    check_hyperparameters(request.get("HyperParameters", {}))
    check_environment(request.get("Environment", {}))
    check_max_run(request["StoppingCondition"]["MaxRuntimeInSeconds"])
    _check_places(request)
    _check_instance(request)


def _check_places(request: dict[str, Any]) -> None:
    channels = {each["ChannelName"]: each for each in request.get("InputDataConfig", [])}
    check_channels(channels)
    for name, channel in channels.items():
        if not channel_path(channel).exists():
            raise ValidationError(f"channel {name}: {channel_path(channel)} does not exist")
    archive = code_archive(request)
    if archive is not None and not archive.is_file():
        raise ValidationError(f"sagemaker_submit_directory: {archive} does not exist")
    output = request["OutputDataConfig"]["S3OutputPath"]
    if local_path(output) is None:
        raise ValidationError(f"a job on this machine writes to file:// addresses, not to {output}")
    checkpoints = request.get("CheckpointConfig", {}).get("S3Uri")
    if checkpoints is not None and local_path(checkpoints) is None:
        raise ValidationError(
            f"a job on this machine keeps checkpoints at file:// addresses, not at {checkpoints}"
        )


def _check_instance(request: dict[str, Any]) -> None:
    resources, algorithm = request["ResourceConfig"], request["AlgorithmSpecification"]
    instance, count = resources["InstanceType"], resources["InstanceCount"]
    image = algorithm["TrainingImage"]
    if runs_in_containers(request) and isinstance(count, int) and count >= 1:
        if local_path(image) is not None:
            raise ValidationError(f"{image} is an interpreter: {instance} runs an image, by name")
        _check_commands(algorithm)
        return
    if instance != "process" or count != 1:
        raise ValidationError(
            f"{count} x {instance} cannot be served here: this machine runs 1 x process, and local "
            "or local_gpu in Docker"
        )
    if local_path(image) is None:
        raise ValidationError(f"the image of a process is file:// and its interpreter, not {image}")
    if BASE not in checkpoints_path(request).parents:
        raise ValidationError(
            f"a process has no {checkpoints_path(request)} of its own: leave LocalPath out"
        )


def _check_commands(algorithm: dict[str, Any]) -> None:
    for key in _COMMANDS:
        words = algorithm.get(key, [""])
        if not (isinstance(words, list) and words and all(isinstance(w, str) for w in words)):
            raise ValidationError(f"AlgorithmSpecification.{key} is not a list of words: {words!r}")
