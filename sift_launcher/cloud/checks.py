"""All that SageMaker would refuse about a job, found before anything is uploaded or paid for.

All questions are asked at once; what is told is the first thing wrong in a fixed order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sift_launcher.cloud.buckets import check_bucket, check_channel, s3_places
from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.explain import explained
from sift_launcher.cloud.facts import Cloud
from sift_launcher.cloud.images import check_is_there, ecr_image
from sift_launcher.cloud.network import check_key, check_network
from sift_launcher.cloud.permissions import check_permissions, check_trust
from sift_launcher.cloud.question import Question
from sift_launcher.cloud.quotas import check_quota
from sift_launcher.cloud.shapes import in_words, violations
from sift_launcher.errors import (
    AccessDenied,
    CloudRefused,
    CloudUnreachable,
    ResourceInUse,
    ResourceNotFound,
    ValidationError,
)
from sift_launcher.stock import is_stock_account

if TYPE_CHECKING:
    from sift_launcher.plan import Plan

_PATIENCE_SECONDS = 60.0
_STAND_IN = (
    "not checked: quota, the role's permissions and AWS's own image, which a stand-in for AWS "
    "does not have"
)


@dataclass(frozen=True)
class _Check:
    """One thing that SageMaker would look at."""

    subject: str
    ask: Callable[[], str | None]
    """Raises what is wrong; returns what the user should know, or None."""

    is_side: bool = False
    """The job does not need the service that is asked: without an answer, it may run all the
    same."""


def preflight(
    plan: Plan, cloud: Cloud, clients: Clients, patience_seconds: float = _PATIENCE_SECONDS
) -> tuple[str, ...]:
    """Notes of what could not be checked, for the user to know.

    Raises ValidationError, RoleError, BucketError, ImageUnfit, ResourceInUse, RegionError,
    QuotaError or CloudUnreachable: the first thing for which SageMaker would refuse the job.
    """
    request = plan.request
    if found := violations("CreateTrainingJob", request):
        raise ValidationError(in_words(found))
    checks = list(_checks(request, cloud, clients))
    asked = [(check, Question(check.ask)) for check in checks]
    end = time.monotonic() + patience_seconds
    notes = [_outcome(check, question, end) for check, question in asked]
    if clients.endpoint is not None:
        notes.append(_STAND_IN)
    return tuple(note for note in notes if note)


def check_name(name: str, clients: Clients) -> None:
    """Raises ResourceInUse when the account has, or had, a training job of that name here."""
    permission = f"sagemaker:DescribeTrainingJob on training-job/{name}"
    try:
        with explained(permission, f"looking for job {name}", clients.profile):
            clients("sagemaker").describe_training_job(TrainingJobName=name)
    except ResourceNotFound:
        return
    raise ResourceInUse(
        f"there is a training job {name} already, and SageMaker never gives a name twice: choose "
        "another --name, or leave it out"
    )


def _outcome(check: _Check, question: Question[str | None], end: float) -> str | None:
    try:
        return question.answer(max(0.0, end - time.monotonic()))
    except TimeoutError:
        return f"not checked: {check.subject}: AWS did not answer in time"
    except AccessDenied as error:
        # The job may be allowed what its owner is not allowed to look at.
        return f"not checked: {check.subject}: {error}"
    except (CloudRefused, CloudUnreachable) as error:
        if not check.is_side:
            raise
        return f"not checked: {check.subject}: {error}"


def _checks(request: Mapping[str, Any], cloud: Cloud, clients: Clients) -> Iterator[_Check]:
    is_aws = clients.endpoint is None
    yield _Check("the role", lambda: check_trust(cloud, clients))
    for bucket, use in _buckets(request).items():
        yield _Check(f"bucket {bucket}", _bound(check_bucket, bucket, use, cloud, clients))
    yield from _channels(request, cloud, clients)
    if key := request["OutputDataConfig"].get("KmsKeyId"):
        yield _Check("--kms-key", lambda: check_key(key, clients), is_side=True)
    if network := request.get("VpcConfig"):
        yield _Check("--subnet", lambda: check_network(network, clients), is_side=True)
    image = cloud.image.name
    if is_aws and is_stock_account(ecr_image(image, cloud.region).account):  # others were looked up
        yield _Check(f"image {image}", lambda: check_is_there(image, clients), is_side=True)
    yield _Check("the name", lambda: check_name(request["TrainingJobName"], clients))
    if is_aws:
        yield _Check("the quota", lambda: check_quota(request, clients), is_side=True)
        yield _Check(
            "the role's permissions",
            lambda: check_permissions(request, cloud, clients),
            is_side=True,
        )


def _buckets(request: Mapping[str, Any]) -> dict[str, str]:
    """What each bucket is first used for."""
    buckets: dict[str, str] = {}
    for use, uri in s3_places(request):
        buckets.setdefault(uri.removeprefix("s3://").partition("/")[0], use)
    return buckets


def _channels(request: Mapping[str, Any], cloud: Cloud, clients: Clients) -> Iterator[_Check]:
    to_come = {upload.channel for upload in cloud.uploads} | _code_channels(request)
    for channel in request.get("InputDataConfig", []):
        name, source = channel["ChannelName"], channel["DataSource"].get("S3DataSource")
        if source is None or name in to_come:
            continue
        is_sharded = source.get("S3DataDistributionType") == "ShardedByS3Key"
        count = request["ResourceConfig"]["InstanceCount"]
        use, uri = f"channel {name}", source["S3Uri"]
        yield _Check(use, _bound(check_channel, use, uri, count, is_sharded, clients))


def _code_channels(request: Mapping[str, Any]) -> set[str]:
    """The channel that brings the code, which is packed and uploaded after the checks."""
    code = request.get("HyperParameters", {}).get("sagemaker_submit_directory", "")
    _, _, below = code.strip('"').partition("/opt/ml/input/data/")
    return {below.partition("/")[0]} if below else set()


def _bound(check: Callable[..., str | None], *arguments: Any) -> Callable[[], str | None]:
    return lambda: check(*arguments)
