"""Submitting a plan to SageMaker, through the estimator. Importing it imports the SDK."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sift_launcher.bundle import megabytes
from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.explain import explained
from sift_launcher.cloud.facts import Cloud, Upload
from sift_launcher.cloud.request import CODE_CHANNEL, bucket_of
from sift_launcher.cloud.upload import upload
from sift_launcher.errors import BucketMissing
from sift_launcher.estimator.pytorch import SiftPyTorch
from sift_launcher.estimator.sdk import TrainingInput
from sift_launcher.estimator.session import SiftSession, remember
from sift_launcher.plan import Plan
from sift_launcher.request_parts import SUBMIT_DIRECTORY

_REPORT_SECONDS = 1.0
# What the estimator says of itself, whatever it is told.
_OF_THE_SDK = frozenset(
    {
        SUBMIT_DIRECTORY,
        "sagemaker_program",
        "sagemaker_container_log_level",
        "sagemaker_job_name",
        "sagemaker_region",
    }
)


def submit_to_sagemaker(
    plan: Plan, report: Callable[[str], None], clients: Clients | None = None
) -> str:
    """Uploads data and code, sends the request of `plan`, and remembers the job; returns its ARN.

    `report` is told how much of the data is there. A default bucket that is not there yet is made,
    as the SDK makes it. Whatever is interrupted or refused: there is a job with all it needs, or
    there is none. Raises the errors of `cloud.explain`, ResourceInUse
    among them, and ChannelError for data that changed. `clients` are those of the plan's account.
    """
    cloud = plan.cloud
    if cloud is None:
        raise ValueError(f"plan {plan.name} is for this machine: `submit` takes it")
    clients = clients or Clients(cloud.region, cloud.profile, cloud.endpoint)
    # Without the SDK's settings files: the plan says all that is sent.
    session = SiftSession(clients, account=cloud.account, bucket=cloud.bucket, sagemaker_config={})
    try:
        _submit(plan, cloud, session, report)
    except BucketMissing:
        if bucket_of(plan.bundle_uri) != cloud.bucket:
            raise
        # The account's first job in the region: nothing is sent to a bucket before its data.
        session.make_default_bucket()
        _submit(plan, cloud, session, report)
    price = cloud.prices.on_demand if cloud.prices else None
    remember(replace(session.latest, is_rehearsal=plan.is_rehearsal, dollars_per_hour=price))
    return session.latest.arn


def estimator_of(plan: Plan, session: SiftSession) -> SiftPyTorch:
    """The estimator whose request is that of `plan`, and whose code is the plan's bundle."""
    request = plan.request
    algorithm, resources = request["AlgorithmSpecification"], request["ResourceConfig"]
    output, stopping = request["OutputDataConfig"], request["StoppingCondition"]
    network = request.get("VpcConfig", {})
    values = {name: json.loads(text) for name, text in request["HyperParameters"].items()}
    estimator = SiftPyTorch(
        values["sagemaker_program"],
        source_dir=plan.bundle.source_dir,
        hyperparameters=_own(values),
        image_uri=algorithm["TrainingImage"],
        sift_config=values.get("sift_config"),
        arguments=json.loads(values.get("sift_arguments", "[]")),
        role=request["RoleArn"],
        instance_type=resources["InstanceType"],
        instance_count=resources["InstanceCount"],
        volume_size=resources["VolumeSizeInGB"],
        keep_alive_period_in_seconds=resources.get("KeepAlivePeriodInSeconds"),
        max_run=stopping["MaxRuntimeInSeconds"],
        max_wait=stopping.get("MaxWaitTimeInSeconds"),
        use_spot_instances=request.get("EnableManagedSpotTraining", False),
        max_retry_attempts=request.get("RetryStrategy", {}).get("MaximumRetryAttempts"),
        input_mode=algorithm["TrainingInputMode"],
        metric_definitions=algorithm.get("MetricDefinitions"),
        container_entry_point=algorithm.get("ContainerEntrypoint"),
        container_arguments=algorithm.get("ContainerArguments"),
        output_path=output["S3OutputPath"],
        output_kms_key=output.get("KmsKeyId"),
        checkpoint_s3_uri=request.get("CheckpointConfig", {}).get("S3Uri"),
        environment=request.get("Environment"),
        tags=request.get("Tags"),
        subnets=network.get("Subnets"),
        security_group_ids=network.get("SecurityGroupIds"),
        enable_network_isolation=request.get("EnableNetworkIsolation", False),
        debugger_hook_config=False,
        disable_profiler=True,
        sagemaker_session=session,
    )
    estimator.plan_code(plan.bundle, is_a_channel=_is_code_a_channel(plan))
    return estimator


def inputs_of(plan: Plan) -> dict[str, Any] | None:
    """What `fit` of that estimator is given."""
    inputs = {}
    for channel in plan.request.get("InputDataConfig", []):
        source = channel["DataSource"]["S3DataSource"]
        inputs[channel["ChannelName"]] = TrainingInput(
            source["S3Uri"],
            distribution=source["S3DataDistributionType"],
            input_mode=channel.get("InputMode"),
        )
    if _is_code_a_channel(plan):
        del inputs[CODE_CHANNEL]  # the estimator adds it
    return inputs or None


def _submit(plan: Plan, cloud: Cloud, session: SiftSession, report: Callable[[str], None]) -> None:
    for each in cloud.uploads:
        _upload(each, session.clients, plan, report)
    estimator_of(plan, session).fit(inputs_of(plan), wait=False, job_name=plan.name)


def _upload(each: Upload, clients: Clients, plan: Plan, report: Callable[[str], None]) -> None:
    reported = [0.0]

    def progress(there: int, whole: int) -> None:
        if time.monotonic() - reported[0] >= _REPORT_SECONDS:
            reported[0] = time.monotonic()
            report(f"uploading channel {each.channel}: {megabytes(there)} of {megabytes(whole)}")

    place = each.uri.removeprefix("s3://")
    with explained(f"s3:PutObject on arn:aws:s3:::{place}*", f"uploading channel {each.channel}"):
        key = plan.request["OutputDataConfig"].get("KmsKeyId")
        upload(each, clients("s3"), progress, key)


def _own(values: dict[str, Any]) -> dict[str, Any]:
    sifting = {"sift_config", "sift_arguments"}
    return {name: value for name, value in values.items() if name not in _OF_THE_SDK | sifting}


def _is_code_a_channel(plan: Plan) -> bool:
    place = json.loads(plan.request["HyperParameters"][SUBMIT_DIRECTORY])
    return not str(place).startswith("s3://")
