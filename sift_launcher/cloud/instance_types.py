"""The types of SageMaker's instances: their names, and what is in them. Pure.

Sources: the enum TrainingInstanceType of SageMaker's API, and
https://aws.amazon.com/ec2/instance-types/accelerated-computing/ for the GPUs.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

from sift_launcher.errors import InstanceNotServed

_NAME = re.compile(r"ml\.(?P<family>[a-z0-9-]+)\.(?P<size>[a-z0-9]+)")
# g and p are the families with NVIDIA's GPUs; the p6e has Grace processors, which are arm64.
_GPU_FAMILY = re.compile(r"(g|gr|p)\d")
_ARM_FAMILY = re.compile(r"[a-z]+\d+g[a-z]*|p6e-gb\d+")
_ACCELERATOR_FAMILY = re.compile(r"(trn|inf|dl)\d")
# Where the size does not give it: (family, size) → GPUs. All other sizes of g families have one.
_GPUS = {
    ("p2", "8xlarge"): 8,
    ("p2", "16xlarge"): 16,
    ("p3", "8xlarge"): 4,
    ("p3", "16xlarge"): 8,
    ("p3dn", "24xlarge"): 8,
    ("p4d", "24xlarge"): 8,
    ("p4de", "24xlarge"): 8,
    ("p5", "48xlarge"): 8,
    ("p5e", "48xlarge"): 8,
    ("p5en", "48xlarge"): 8,
    ("p6-b200", "48xlarge"): 8,
    ("p6-b300", "48xlarge"): 8,
    ("p6e-gb200", "36xlarge"): 4,
    ("g4dn", "12xlarge"): 4,
    ("g5", "12xlarge"): 4,
    ("g5", "24xlarge"): 4,
    ("g5", "48xlarge"): 8,
    ("g6", "12xlarge"): 4,
    ("g6", "24xlarge"): 4,
    ("g6", "48xlarge"): 8,
    ("g6e", "12xlarge"): 4,
    ("g6e", "24xlarge"): 4,
    ("g6e", "48xlarge"): 8,
    ("g7", "12xlarge"): 2,
    ("g7", "24xlarge"): 4,
    ("g7", "48xlarge"): 8,
    ("g7e", "12xlarge"): 2,
    ("g7e", "24xlarge"): 4,
    ("g7e", "48xlarge"): 8,
}


def has_gpu(instance: str) -> bool:
    """Whether an `ml.*` instance has NVIDIA's GPUs."""
    return _GPU_FAMILY.match(family(instance)) is not None


def gpu_count(instance: str) -> int:
    """How many GPUs an `ml.*` instance has, 0 when none."""
    if not has_gpu(instance):
        return 0
    return _GPUS.get((family(instance), instance.rpartition(".")[2]), 1)


def architecture(instance: str) -> str:
    """The processor of an `ml.*` instance in Docker's words: `amd64`, `arm64`."""
    own = family(instance)
    return "arm64" if _ARM_FAMILY.fullmatch(own) else "amd64"


def has_own_accelerator(instance: str) -> bool:
    """Whether an `ml.*` instance computes on chips that PyTorch's own builds do not know."""
    return _ACCELERATOR_FAMILY.match(family(instance)) is not None


def family(instance: str) -> str:
    """`g5` of `ml.g5.xlarge`."""
    return instance.removeprefix("ml.").partition(".")[0]


def check_instance_type(instance: str) -> None:
    """Raises InstanceNotServed, with the nearest names, unless SageMaker trains on `instance`."""
    known = training_instances()
    if instance in known:
        return
    if f"ml.{instance}" in known:
        raise InstanceNotServed(f"unknown instance {instance!r}: write --instance ml.{instance}")
    near = nearest(instance, known)
    hint = f": did you mean {' or '.join(near)}?" if near else ": such as ml.g5.xlarge, ml.m5.large"
    if near and _NAME.fullmatch(instance):
        hint += " (pip install -U boto3 brings the names of newer ones)"
    raise InstanceNotServed(f"SageMaker trains on no instance {instance!r}{hint}")


def training_instances() -> list[str]:
    """All that SageMaker trains on, as far as the installed botocore knows."""
    from sift_launcher.cloud.service_model import service_model

    return list(service_model()["shapes"]["TrainingInstanceType"]["enum"])


def nearest(instance: str, known: list[str]) -> list[str]:
    """The names of `known` that were most likely meant: of the same family first."""
    typed = instance.lower().strip()
    typed = typed if typed.startswith("ml.") else f"ml.{typed}"
    if typed in known:
        return [typed]
    own = [name for name in known if family(name) == family(typed)]
    return get_close_matches(typed, own, n=3, cutoff=0.0) or get_close_matches(typed, known, n=3)
