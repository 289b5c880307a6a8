"""AWS's own training image, which `--image stock` stands for. Pure."""

from __future__ import annotations

from collections.abc import Mapping

# The newest whose torch is the one that the runtime is tested with. Source: the changelog of
# https://github.com/aws/deep-learning-containers (docs/pytorch/changelog, 2026-07-20).
_TAGS = {"cpu": "2.13-cpu-amzn2023-sagemaker", "gpu": "2.13-cu133-amzn2023-sagemaker"}
_REPOSITORY = "pytorch"
_PUBLIC = "public.ecr.aws/deep-learning-containers"
_ACCOUNT = "763104351884"
# Source: the same repository, docs/reference/region_availability.md.
_OTHER_ACCOUNTS = {
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-east-2": "975050140332",
    "ap-northeast-3": "364406365360",
    "ap-south-2": "772153158452",
    "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322",
    "ap-southeast-5": "550225433462",
    "ap-southeast-6": "633930458069",
    "ap-southeast-7": "590183813437",
    "ca-west-1": "204538143572",
    "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807",
    "eu-central-2": "380420809688",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "il-central-1": "780543022126",
    "me-central-1": "914824155844",
    "me-south-1": "217643126080",
    "me-west-1": "124382933778",
    "mx-central-1": "637423239942",
    # Source: the SDK's own table, image_uri_config/pytorch.json.
    "us-gov-east-1": "446045086412",
    "us-gov-west-1": "442386744353",
}


def stock_image(environment: Mapping[str, str], device: str) -> str:
    """AWS's training image for `device` (`cpu` or `gpu`): that of the region which the
    environment names, as SageMaker runs it there; without a region the public gallery's."""
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    tag = _TAGS[device]
    if not region:
        return f"{_PUBLIC}/{_REPOSITORY}:{tag}"
    account = _OTHER_ACCOUNTS.get(region, _ACCOUNT)
    return f"{account}.dkr.ecr.{region}.{_domain(region)}/{_REPOSITORY}:{tag}"


def is_stock_account(account: str) -> bool:
    """Whether the account is one in which AWS keeps its own training images."""
    return account == _ACCOUNT or account in _OTHER_ACCOUNTS.values()


def _domain(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
