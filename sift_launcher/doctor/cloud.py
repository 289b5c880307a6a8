"""What AWS would need to know: region, credentials, role. Asked with patience, never for long."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeVar

from sift_launcher.doctor.facts import CloudFacts

_PATIENCE_SECONDS = 5.0
_CALL_SECONDS = 3
_SERVICE = "sagemaker.amazonaws.com"

T = TypeVar("T")


def cloud_facts() -> CloudFacts:
    """Region, identity and role, as far as they can be had; every call ends within seconds."""
    if find_spec("boto3") is None:
        return CloudFacts(False, sys.executable, _region_of_environment())
    session, region = _session()
    if region is None:
        told = "not asked without a region"
        return CloudFacts(True, sys.executable, None, None, told, None, told)
    identity, problem = _within(lambda: _identity(session, region))
    if identity is None:
        told = "not asked without credentials"
        return CloudFacts(True, sys.executable, region, None, problem, None, told)
    role, role_problem = _within(lambda: _role(session, region))
    if role is None and not role_problem:
        role_problem = f"no role trusts {_SERVICE}"
    return CloudFacts(True, sys.executable, region, identity, "", role, role_problem)


def _region_of_environment() -> str | None:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None


def _session() -> tuple[Any, str | None]:
    from importlib import import_module

    # Not installed with us, so that there are no types of it to be had.
    core = import_module("botocore.session").Session()
    # Outside AWS nobody answers at the address of the machine's own credentials.
    core.set_config_variable("metadata_service_timeout", 1)
    core.set_config_variable("metadata_service_num_attempts", 1)
    return core, _region_of_environment() or core.get_config_variable("region")


def _client(session: Any, service: str, region: str) -> Any:
    from importlib import import_module

    settings = import_module("botocore.config").Config(
        connect_timeout=_CALL_SECONDS, read_timeout=_CALL_SECONDS, retries={"total_max_attempts": 1}
    )
    return session.create_client(service, region_name=region, config=settings)


def _identity(session: Any, region: str) -> str:
    return str(_client(session, "sts", region).get_caller_identity()["Arn"])


def _role(session: Any, region: str) -> str | None:
    pages = _client(session, "iam", region).get_paginator("list_roles").paginate()
    for page in pages:
        for role in page["Roles"]:
            if _SERVICE in str(role["AssumeRolePolicyDocument"]):
                return str(role["Arn"])
    return None


def _within(ask: Callable[[], T]) -> tuple[T | None, str]:
    """What `ask` returns, else why not; a name server that does not answer is not waited for."""
    answer: list[T] = []
    problem = [f"no answer within {_PATIENCE_SECONDS:g} s"]

    def run() -> None:
        try:
            answer.append(ask())
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises is what is told
            problem[0] = " ".join(str(error).split())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_PATIENCE_SECONDS)
    return (answer[0], "") if answer else (None, problem[0])
