"""What AWS would need to know: region, credentials, role, quota. Asked with patience, never for
long."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from typing import TypeVar

from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.gather import caller
from sift_launcher.cloud.question import Question
from sift_launcher.cloud.quotas import instance_quota, too_small
from sift_launcher.cloud.roles import SERVICE, training_roles
from sift_launcher.doctor.facts import CloudFacts
from sift_launcher.errors import CredentialsError, RegionError, SiftLaunchError
from sift_launcher.instances import is_cloud

_PATIENCE_SECONDS = 5.0
_CALL_SECONDS = 3.0
_STAND_IN = "without limit: a stand-in for AWS has no quotas"

T = TypeVar("T")


def cloud_facts(instance: str = "process") -> CloudFacts:
    """Region, identity and role, as far as they can be had, and how many of a SageMaker `instance`
    may be used; every call ends within seconds."""
    if find_spec("botocore") is None:
        return CloudFacts(False, sys.executable, _region_of_environment())
    try:
        clients = Clients(connect_seconds=_CALL_SECONDS, read_seconds=_CALL_SECONDS, attempts=1)
    except RegionError:
        told = "not asked without a region"
        return CloudFacts(True, sys.executable, None, None, told, None, told, None, told)
    except CredentialsError as error:  # a profile that is not there
        region = _region_of_environment()
        return _without_credentials(CloudFacts(True, sys.executable, region), str(error))
    facts = CloudFacts(True, sys.executable, clients.region)
    identity, problem = _within(Question(lambda: caller(clients)))
    if identity is None:
        return _without_credentials(facts, problem)
    facts = replace(facts, identity=identity)
    asked = Question(lambda: _quota(instance, clients))
    role, problem = _within(Question(lambda: _role(clients)))
    quota, quota_problem = _within(asked)
    return replace(
        facts,
        role=role,
        role_problem=problem,
        quota=quota if quota else None,
        quota_problem=quota_problem,
    )


def _region_of_environment() -> str | None:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None


def _without_credentials(facts: CloudFacts, problem: str) -> CloudFacts:
    told = "not asked without credentials"
    return replace(facts, identity_problem=problem, role_problem=told, quota_problem=told)


def _role(clients: Clients) -> str:
    for role in training_roles(clients):
        return role
    raise _NotThere(f"no role trusts {SERVICE}")


def _quota(instance: str, clients: Clients) -> str:
    """What is told of the quota, "" where there is none to tell of."""
    if not is_cloud(instance):
        return ""
    if clients.endpoint is not None:
        return _STAND_IN
    quota = instance_quota(instance, False, clients)
    if quota is None:
        raise _NotThere(f"{clients.region} knows no quota of {instance}: it may not have any")
    if quota.value < 1:
        raise _NotThere(too_small(quota, 1, clients.region))
    return f"{quota.value:g} x {instance} at once"


class _NotThere(SiftLaunchError):
    """What was looked for is not there."""


def _within(question: Question[T]) -> tuple[T | None, str]:
    """The answer, else why there is none; a name server that does not answer is not waited for."""
    try:
        return question.answer(_PATIENCE_SECONDS), ""
    except (SiftLaunchError, TimeoutError) as error:
        return None, str(error)
