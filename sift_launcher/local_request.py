"""The request of a job on this machine, for the service that runs there. Pure."""

from __future__ import annotations

from typing import Any

from sift_launcher import carried, request_parts
from sift_launcher.job_spec import DEFAULT_VOLUME_SIZE_GB, JobSpec
from sift_launcher.paths import file_uri
from sift_launcher.request_parts import Request
from sift_launcher.surroundings import Docker, Surroundings

# Nothing here has a role; the request has one, so that it is whole wherever it is sent.
ROLE = "arn:aws:iam::000000000000:role/sift-launcher-local"


def local_request(spec: JobSpec, surroundings: Surroundings, name: str) -> Request:
    """SageMaker's request, with `file://` addresses where the service has `s3://`."""
    docker = surroundings.docker
    output = file_uri(surroundings.output)
    checkpoints = (
        f"{output}/{name}/checkpoints"
        if surroundings.checkpoint is None
        else file_uri(surroundings.checkpoint)
    )
    code = f"{output}/{name}/source/sourcedir.tar.gz"
    image = docker.image.name if docker else file_uri(surroundings.python)
    request: Request = {
        "TrainingJobName": name,
        "AlgorithmSpecification": _algorithm(spec, image, docker),
        "RoleArn": ROLE,
        "HyperParameters": request_parts.encode(
            request_parts.hyperparameters(spec, surroundings, name, code)
        ),
        "OutputDataConfig": {"S3OutputPath": output},
        "CheckpointConfig": {"S3Uri": checkpoints, "LocalPath": "/opt/ml/checkpoints"},
        "ResourceConfig": {
            "InstanceType": spec.instance,
            "InstanceCount": spec.count,
            "VolumeSizeInGB": DEFAULT_VOLUME_SIZE_GB,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": spec.max_run_seconds},
    }
    # The service refuses empty lists.
    if spec.channels:
        request["InputDataConfig"] = [
            _channel(spec, surroundings, channel) for channel in spec.channels
        ]
    is_carrying = docker is not None and bool(docker.runtime)
    if environment := request_parts.environment(
        spec, docker.image if docker else None, is_carrying
    ):
        request["Environment"] = environment
    if tags := request_parts.tags(spec):
        request["Tags"] = tags
    return request


def _algorithm(spec: JobSpec, image: str, docker: Docker | None) -> dict[str, Any]:
    algorithm: dict[str, Any] = {"TrainingImage": image, "TrainingInputMode": spec.input_mode}
    if metrics := request_parts.metric_definitions(spec):
        algorithm["MetricDefinitions"] = metrics
    if docker is not None and docker.image.kind == "plain":
        algorithm["ContainerEntrypoint"] = list(carried.ENTRYPOINT)
        algorithm["ContainerArguments"] = ["train"]
    return algorithm


def _channel(spec: JobSpec, surroundings: Surroundings, name: str) -> dict[str, Any]:
    wished, place = spec.channels[name], surroundings.channels[name]
    if wished.is_in_s3:
        return request_parts.s3_channel(name, place, wished.sharded, wished.input_mode)
    source = {
        "FileDataDistributionType": request_parts.distribution_type(wished.sharded),
        "FileUri": file_uri(place),
    }
    return request_parts.channel(name, {"FileDataSource": source}, wished.input_mode)
