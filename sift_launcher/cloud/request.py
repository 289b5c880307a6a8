"""The request of a job in SageMaker, as SDK v2's PyTorch estimator sends it. Pure.

That estimator sends whatever a job is launched with: a contract test holds both equal. Debugger
and profiler are off; neither exists for new images.
"""

from __future__ import annotations

from typing import Any

from sift_launcher import carried, request_parts
from sift_launcher.cloud.facts import Cloud
from sift_launcher.errors import OptionError
from sift_launcher.job_spec import DEFAULT_VOLUME_SIZE_GB, JobSpec
from sift_launcher.request_parts import Request
from sift_launcher.surroundings import Surroundings
from sift_launcher.validation import MAX_RUN_SECONDS

CODE_CHANNEL = "code"
_ARCHIVE = "sourcedir.tar.gz"
_A_DAY = 24 * 60 * 60


def cloud_request(spec: JobSpec, surroundings: Surroundings, cloud: Cloud, name: str) -> Request:
    """The exact CreateTrainingJob request. Raises OptionError for a channel's name that is ours."""
    by_channel = code_comes_by_channel(spec, cloud)
    code = code_uri(surroundings, name)
    values = request_parts.hyperparameters(
        spec, surroundings, name, carried.CODE_ARCHIVE if by_channel else code
    )
    values["sagemaker_region"] = cloud.region
    if request_parts.is_distributed(spec):
        values["sagemaker_instance_type"] = spec.instance
    request: Request = {
        "TrainingJobName": name,
        "AlgorithmSpecification": _algorithm(spec, cloud),
        "RoleArn": cloud.role_arn,
        "HyperParameters": request_parts.encode(values),
        "OutputDataConfig": _with_key(spec, {"S3OutputPath": surroundings.output}),
        "ResourceConfig": _resources(spec),
        "StoppingCondition": _stopping(spec),
        "ProfilerConfig": {"DisableProfiler": True},
    }
    if channels := _channels(spec, cloud, code if by_channel else None):
        request["InputDataConfig"] = channels
    if (checkpoints := _checkpoints(spec, surroundings, name)) is not None:
        request["CheckpointConfig"] = {"S3Uri": checkpoints}
    if environment := request_parts.environment(spec, cloud.image, bool(cloud.runtime)):
        request["Environment"] = environment
    if tags := request_parts.tags(spec):
        request["Tags"] = tags
    if spec.subnets:
        request["VpcConfig"] = {
            "Subnets": list(spec.subnets),
            "SecurityGroupIds": list(spec.security_groups),
        }
    if spec.spot:
        request["EnableManagedSpotTraining"] = True
    if spec.network_isolation:
        request["EnableNetworkIsolation"] = True
    if spec.retries is not None:
        request["RetryStrategy"] = {"MaximumRetryAttempts": spec.retries}
    return request


def code_uri(surroundings: Surroundings, name: str) -> str:
    """Where the estimator puts the code: beside the outputs, below the job's name alone."""
    return f"s3://{bucket_of(surroundings.output)}/{name}/source/{_ARCHIVE}"


def code_comes_by_channel(spec: JobSpec, cloud: Cloud) -> bool:
    """Whether the code is a channel of its own: for hosts that cannot fetch it themselves."""
    return spec.network_isolation or cloud.image.kind == "plain"


def bucket_of(uri: str) -> str:
    """`b` of `s3://b/prefix`."""
    return uri.removeprefix("s3://").partition("/")[0]


def _algorithm(spec: JobSpec, cloud: Cloud) -> dict[str, Any]:
    algorithm: dict[str, Any] = {
        "TrainingImage": cloud.image.name,
        "TrainingInputMode": spec.input_mode,
    }
    if metrics := request_parts.metric_definitions(spec):
        algorithm["MetricDefinitions"] = metrics
    if cloud.image.kind == "plain":
        algorithm["ContainerEntrypoint"] = list(carried.cloud_entrypoint())
    return algorithm


def _with_key(spec: JobSpec, output: dict[str, str]) -> dict[str, str]:
    return output if spec.kms_key is None else output | {"KmsKeyId": spec.kms_key}


def _resources(spec: JobSpec) -> dict[str, Any]:
    volume = DEFAULT_VOLUME_SIZE_GB if spec.volume_size_gb is None else spec.volume_size_gb
    resources: dict[str, Any] = {
        "InstanceType": spec.instance,
        "InstanceCount": spec.count,
        "VolumeSizeInGB": volume,
    }
    if spec.keep_alive_seconds is not None:
        resources["KeepAlivePeriodInSeconds"] = spec.keep_alive_seconds
    return resources


def _stopping(spec: JobSpec) -> dict[str, int]:
    stopping = {"MaxRuntimeInSeconds": spec.max_run_seconds}
    if spec.spot:
        # SageMaker refuses a spot job that does not say how long it may wait.
        a_day_more = min(spec.max_run_seconds + _A_DAY, MAX_RUN_SECONDS)
        stopping["MaxWaitTimeInSeconds"] = spec.max_wait_seconds or a_day_more
    return stopping


def _channels(spec: JobSpec, cloud: Cloud, code: str | None) -> list[dict[str, Any]]:
    uploads = {upload.channel: upload.uri for upload in cloud.uploads}
    channels = [
        request_parts.s3_channel(
            name, uploads.get(name, wished.place), wished.sharded, wished.input_mode
        )
        for name, wished in spec.channels.items()
    ]
    if code is None:
        return channels
    if CODE_CHANNEL in spec.channels:
        raise OptionError(
            f"--data {CODE_CHANNEL}: that channel brings the job's own code, for its hosts cannot "
            "fetch it themselves; name yours otherwise"
        )
    return [*channels, request_parts.s3_channel(CODE_CHANNEL, code, False, None)]


def _checkpoints(spec: JobSpec, surroundings: Surroundings, name: str) -> str | None:
    if spec.checkpoint is not None or not spec.spot:
        return spec.checkpoint
    return f"s3://{bucket_of(surroundings.output)}/{name}/checkpoints"
