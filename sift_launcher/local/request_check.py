"""Whether the service on this machine can serve a request: all that is cheap to know beforehand.

Source of the fields: the API reference of CreateTrainingJob.
"""

from __future__ import annotations

from typing import Any

from sift_launcher.errors import ValidationError
from sift_launcher.instances import PROCESS
from sift_launcher.local import players
from sift_launcher.local.interruptions import moment
from sift_launcher.local.places import (
    BASE,
    channels_of,
    checkpoints_path,
    checkpoints_uri,
    code_uri,
    is_s3,
)
from sift_launcher.local.stand_in import StandIn
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
    "StoppingCondition": (),
}
_COMMANDS = ("ContainerEntrypoint", "ContainerArguments")
_MOST_RETRIES = 30


def check_request(request: dict[str, Any], stand_in: StandIn | None = None) -> None:
    """Raises ValidationError unless this machine, given a fit image, can serve `request`."""
    is_played = stand_in is not None
    required = _REQUIRED | ({"RoleArn": ()} if is_played else {})
    for key, inner in required.items():
        missing = [key] if key not in request else [k for k in inner if k not in request[key]]
        if missing:
            raise ValidationError(f"the request lacks {'.'.join({key: 0, missing[0]: 0})}")
    check_job_name(request["TrainingJobName"])
    check_hyperparameters(request.get("HyperParameters", {}))
    check_environment(request.get("Environment", {}))
    _check_inputs(request)
    _check_outputs(request, is_played)
    _check_times(request, stand_in)
    _check_instance(request, stand_in)


def _check_inputs(request: dict[str, Any]) -> None:
    check_channels({each["ChannelName"]: each for each in request.get("InputDataConfig", [])})
    for channel in channels_of(request):
        path = local_path(channel.uri)
        if path is not None and not path.exists():
            raise ValidationError(f"channel {channel.name}: {path} does not exist")
    archive = local_path(code_uri(request) or "")
    if archive is not None and not archive.is_file():
        raise ValidationError(f"sagemaker_submit_directory: {archive} does not exist")


def _check_outputs(request: dict[str, Any], is_played: bool) -> None:
    output = request["OutputDataConfig"]["S3OutputPath"]
    if not _can_be_written(output, is_played):
        raise ValidationError(f"a job on this machine writes to file:// addresses, not to {output}")
    if request["OutputDataConfig"].get("CompressionType", "GZIP") != "GZIP":
        raise ValidationError(
            "OutputDataConfig.CompressionType: a job on this machine packs its model with GZIP"
        )
    checkpoints = checkpoints_uri(request)
    if checkpoints is not None and not _can_be_written(checkpoints, is_played):
        raise ValidationError(
            f"a job on this machine keeps checkpoints at file:// addresses, not at {checkpoints}"
        )


def _can_be_written(uri: str, is_played: bool) -> bool:
    return local_path(uri) is not None or (is_played and is_s3(uri))


def _check_times(request: dict[str, Any], stand_in: StandIn | None) -> None:
    limits = request["StoppingCondition"]
    if "MaxRuntimeInSeconds" in limits:
        check_max_run(limits["MaxRuntimeInSeconds"])
    retries = request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 1)
    if not 1 <= retries <= _MOST_RETRIES:
        raise ValidationError(
            f"RetryStrategy.MaximumRetryAttempts {retries}: 1 to {_MOST_RETRIES} are granted"
        )
    if not request.get("EnableManagedSpotTraining", False):
        return
    if stand_in is None:
        raise ValidationError(
            "EnableManagedSpotTraining: this machine is no spot instance; rehearse the job on an "
            "ml.* one with --rehearse"
        )
    for text in stand_in.interruptions:
        moment(text)


def _check_instance(request: dict[str, Any], stand_in: StandIn | None) -> None:
    count, instance = request["ResourceConfig"]["InstanceCount"], players.instance_of(request)
    is_count = isinstance(count, int) and count >= 1
    if players.runs_in_containers(request, stand_in) and is_count:
        image = players.image_of(request, stand_in)
        if local_path(image) is not None:
            raise ValidationError(f"{image} is an interpreter: {instance} runs an image, by name")
        _check_commands(request["AlgorithmSpecification"])
        return
    if players.is_played(request, stand_in) and is_count and count > 1:
        raise ValidationError(
            f"{count} x {instance} cannot be played by processes, which share this machine's "
            "ports: a container for each host is --rehearse-on local"
        )
    is_process = instance == PROCESS or players.is_played(request, stand_in)
    if not is_process or count != 1:
        raise ValidationError(
            f"{count} x {instance} cannot be served here: this machine runs 1 x process, and local "
            "or local_gpu in Docker"
        )
    _check_process(request, stand_in)


def _check_process(request: dict[str, Any], stand_in: StandIn | None) -> None:
    if players.interpreter_of(request, stand_in) is None:
        image = request["AlgorithmSpecification"]["TrainingImage"]
        raise ValidationError(f"the image of a process is file:// and its interpreter, not {image}")
    if BASE not in checkpoints_path(request).parents:
        raise ValidationError(
            f"a process has no {checkpoints_path(request)} of its own: leave LocalPath out"
        )
    if players.is_played(request, stand_in) and not _names_script(request):
        raise ValidationError(
            "the request names no script (sagemaker_program, or a channel sm_drivers), so it runs "
            "its image's own program: a container of it is --rehearse-on local"
        )


def _names_script(request: dict[str, Any]) -> bool:
    return (
        "sagemaker_program" in request.get("HyperParameters", {})
        or "SAGEMAKER_PROGRAM" in request.get("Environment", {})
        or any(each["ChannelName"] == "sm_drivers" for each in request.get("InputDataConfig", []))
    )


def _check_commands(algorithm: dict[str, Any]) -> None:
    for key in _COMMANDS:
        words = algorithm.get(key, [""])
        if not (isinstance(words, list) and words and all(isinstance(w, str) for w in words)):
            raise ValidationError(f"AlgorithmSpecification.{key} is not a list of words: {words!r}")
