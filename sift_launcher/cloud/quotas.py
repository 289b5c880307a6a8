"""How many instances the account may train on, and whether the region has them at all.

Source: the API reference of Service Quotas; SageMaker's quotas are named after the instance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.explain import explained
from sift_launcher.cloud.prices import selling_regions
from sift_launcher.errors import QuotaError, RegionError, ResourceNotFound
from sift_launcher.local.records import write_json
from sift_launcher.paths import state_folder

_SERVICE = "sagemaker"
_TRAINING = "training job usage"
_WARM_POOL = "training warm pool usage"
_LONGEST_RUN = "Longest run time for a training job"
_ALWAYS_GRANTED_SECONDS = 5 * 24 * 60 * 60  # the quota of a new account


@dataclass(frozen=True)
class Quota:
    """One quota of the account in a region."""

    name: str
    code: str
    value: float


def check_quota(request: Mapping[str, Any], clients: Clients) -> str | None:
    """Raises QuotaError when the account may not have as many instances, keep them warm or run
    them as long, RegionError when the region has none of them. A note when neither can be known."""
    resources = request["ResourceConfig"]
    instance, count = resources["InstanceType"], resources["InstanceCount"]
    quota = instance_quota(instance, bool(request.get("EnableManagedSpotTraining")), clients)
    if quota is None:
        return _check_region(instance, clients)
    _check_size(quota, count, clients)
    if resources.get("KeepAlivePeriodInSeconds"):
        _check_size(find_quota(f"{instance} for {_WARM_POOL}", clients), count, clients)
    seconds = request["StoppingCondition"].get("MaxRuntimeInSeconds", 0)
    if seconds > _ALWAYS_GRANTED_SECONDS:
        _check_size(find_quota(_LONGEST_RUN, clients), seconds, clients)
    return None


def instance_quota(instance: str, is_spot: bool, clients: Clients) -> Quota | None:
    """How many instances of the type may train at once. None: there is no such quota."""
    return find_quota(f"{instance} for {'spot ' if is_spot else ''}{_TRAINING}", clients)


def find_quota(name: str, clients: Clients) -> Quota | None:
    """The account's quota of that name in the region. None: there is no such quota."""
    codes = _kept()
    if name in codes:
        with suppress(ResourceNotFound), _asking("GetServiceQuota", clients):
            found = clients("service-quotas").get_service_quota(
                ServiceCode=_SERVICE, QuotaCode=codes[name]
            )["Quota"]
            return Quota(name, codes[name], float(found["Value"]))
    return _search(name, clients)


def too_small(quota: Quota, wished: int, region: str) -> str:
    """What is wrong with `quota` for a job that needs `wished`, and how more is asked for."""
    return (
        f"this account's quota of {quota.name!r} is {quota.value:g} in {region}, and the job needs "
        f"{wished}: aws service-quotas request-service-quota-increase --service-code {_SERVICE} "
        f"--quota-code {quota.code} --desired-value {wished} --region {region} asks for more"
    )


def _check_size(quota: Quota | None, wished: int, clients: Clients) -> None:
    if quota is not None and quota.value < wished:
        raise QuotaError(too_small(quota, wished, clients.region))


def _search(name: str, clients: Clients) -> Quota | None:
    """Pages through SageMaker's quotas, which are many; the codes of those seen are kept."""
    seen: dict[str, str] = {}
    try:
        with _asking("ListServiceQuotas", clients):
            pages = clients("service-quotas").get_paginator("list_service_quotas")
            for page in pages.paginate(ServiceCode=_SERVICE, PaginationConfig={"PageSize": 100}):
                for each in page["Quotas"]:
                    seen[each["QuotaName"]] = each["QuotaCode"]
                    if each["QuotaName"] == name:
                        return Quota(name, each["QuotaCode"], float(each["Value"]))
    finally:
        _keep(seen)
    return None


def _asking(action: str, clients: Clients) -> Any:
    return explained(f"servicequotas:{action}", "asking for the quota", clients.profile)


def _check_region(instance: str, clients: Clients) -> str | None:
    regions = selling_regions(instance, clients)
    if clients.region in regions:
        return f"not checked: the quota of {instance}, which AWS does not name"
    where = ", ".join(regions[:6]) or "no region"
    raise RegionError(
        f"region {clients.region} has no {instance} for training: {where} "
        f"{'has' if len(regions) == 1 else 'have'} it (--region)"
    )


def _kept() -> dict[str, str]:
    with suppress(OSError, ValueError):
        return dict(json.loads(_place().read_text("utf-8")))
    return {}


def _keep(seen: Mapping[str, str]) -> None:
    """A quota's code is the same in all accounts and regions: only its value is asked again."""
    kept = (_TRAINING, _WARM_POOL, _LONGEST_RUN)
    codes = {name: code for name, code in seen.items() if name.endswith(kept)}
    with suppress(OSError):  # the next search pages again
        _place().parent.mkdir(parents=True, exist_ok=True)
        write_json(_place(), _kept() | codes)


def _place() -> Path:
    return state_folder() / "quota-codes.json"
