"""Where a job can run, and which options make sense there. Pure."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sift_launcher.errors import InstanceNotServed, OptionError

if TYPE_CHECKING:
    from sift_launcher.job_spec import JobSpec

PROCESS = "process"
LOCAL = "local"
LOCAL_GPU = "local_gpu"
SERVED = (PROCESS, LOCAL, LOCAL_GPU)

CONTAINER = "container"
CLOUD = "cloud"

STOCK = "stock"
"""What `--image` takes for AWS's own training image."""

TORCHRUN = "torchrun"
DISTRIBUTIONS = (TORCHRUN, "none")
MAX_COUNT = 20  # SageMaker's own default quota of instances in one job

_USE = (
    "use --instance process (a process on this machine), local (a Docker container), local_gpu "
    "(one with this machine's GPUs), or one of SageMaker's, such as ml.g5.xlarge"
)
_LIKE_SAGEMAKERS = re.compile(r"[a-z]+\d[a-z0-9-]*\.[a-z0-9]+", re.IGNORECASE)

# The options that mean something in some places alone.
_PLACES = {
    "python": {PROCESS},
    "image": {CONTAINER, CLOUD},
    "count": {CONTAINER, CLOUD},
    "shm-size": {CONTAINER},
    "memory": {CONTAINER},
    "cpus": {CONTAINER},
    "platform": {CONTAINER},
    "role": {CLOUD},
    "spot": {CLOUD},
    "max-wait": {CLOUD},
    "volume-size": {CLOUD},
    "kms-key": {CLOUD},
    "subnet": {CLOUD},
    "security-group": {CLOUD},
    "network-isolation": {CLOUD},
    "keep-alive": {CLOUD},
    "retries": {CLOUD},
    "price": {CLOUD},
    "rehearse": {CLOUD},
    "rehearse-interrupt": {CLOUD},
    "rehearse-on": {CLOUD},
}


def is_container(instance: str) -> bool:
    """Whether a job on `instance` runs in Docker on this machine."""
    return instance in (LOCAL, LOCAL_GPU)


def is_cloud(instance: str) -> bool:
    """Whether `instance` is one of SageMaker's."""
    return instance.startswith("ml.")


def means_something(option: str, instance: str) -> bool:
    """Whether the option of that name (without hyphens before it) has a meaning on `instance`."""
    return _place(instance) in _PLACES.get(option, {_place(instance)})


def in_words(resources: dict[str, Any]) -> str:
    """Where a request's `ResourceConfig` runs: `in a container on this machine`."""
    count, instance = resources["InstanceCount"], resources["InstanceType"]
    if is_cloud(instance):
        return f"on {instance}" if count == 1 else f"on {count} x {instance}"
    one, many = ("a container", "containers") if is_container(instance) else ("a process", "")
    gpus = " with its GPUs" if instance == LOCAL_GPU else ""
    return f"in {one if count == 1 else f'{count} {many}'} on this machine{gpus}"


def check_instance(instance: str) -> None:
    """Raises InstanceNotServed, naming what to use, unless jobs run on `instance`."""
    if instance in SERVED:
        return
    near = get_close_matches(instance, SERVED, n=1, cutoff=0.5)
    if is_cloud(instance) or (not near and _LIKE_SAGEMAKERS.fullmatch(instance)):
        from sift_launcher.cloud.instance_types import check_instance_type

        check_instance_type(instance)
        return
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise InstanceNotServed(f"unknown instance {instance!r}{hint}: {_USE}")


def check_place(option: str, value: object, instance: str) -> None:
    """Raises OptionError when `option`, given as `value`, means nothing on `instance`.

    A `value` of True is that of a flag, and not shown.
    """
    if means_something(option, instance):
        return
    told = f"--{option}" if value is True else f"--{option} {value}"
    if _PLACES[option] == {CLOUD}:
        raise OptionError(
            f"{told} is for SageMaker's instances, and this job runs on this machine: add "
            f"--instance ml.g5.xlarge (with --rehearse it is played here), or leave --{option} out"
        )
    if _PLACES[option] == {PROCESS}:
        raise OptionError(
            f"{told} is for --instance process: a container has the Python of its --image"
        )
    if is_cloud(instance):
        raise OptionError(
            f"{told} is for containers on this machine: an instance of SageMaker has what its "
            f"type says; leave --{option} out"
        )
    raise OptionError(
        f"{told} needs a container, and this job runs in a process: add --instance "
        f"local, or leave --{option} out"
    )


def check_options(spec: JobSpec) -> None:
    """Raises OptionError for options that mean nothing on the instance, or contradict others."""
    if spec.count < 1 or (spec.count > MAX_COUNT and not is_cloud(spec.instance)):
        most = "1 or more" if is_cloud(spec.instance) else f"1 to {MAX_COUNT}"
        raise OptionError(f"--count {spec.count} is no number of hosts: {most}")
    if spec.distribution not in (None, *DISTRIBUTIONS):
        raise OptionError(
            f"--distribution {spec.distribution} is unknown: {' or '.join(DISTRIBUTIONS)}"
        )
    if spec.distribution == TORCHRUN and not spec.script.endswith(".py"):
        raise OptionError(
            f"--distribution torchrun runs Python alone, and {spec.script} is none: "
            "call torchrun in it, with --distribution none"
        )
    for option, value in _given(spec).items():
        check_place(option, value, spec.instance)
    if spec.image is not None and not spec.image.strip():
        raise OptionError("--image names no image: write --image NAME:TAG, or leave it out")
    if spec.instance == LOCAL_GPU and spec.count > 1:
        raise OptionError(
            f"--count {spec.count} and --instance local_gpu contradict each other: one container "
            "gets every GPU of this machine; --distribution torchrun starts a rank for each"
        )


def _place(instance: str) -> str:
    if is_cloud(instance):
        return CLOUD
    return CONTAINER if is_container(instance) else PROCESS


def _given(spec: JobSpec) -> dict[str, object]:
    share = spec.share
    values = {
        "python": spec.python,
        "image": spec.image,
        "count": spec.count if spec.count > 1 else None,
        "shm-size": _shown_size(share.shm_bytes),
        "memory": _shown_size(share.memory_bytes),
        "cpus": share.cpus,
        "platform": share.platform,
        "role": spec.role,
        "spot": spec.spot or None,
        "max-wait": spec.max_wait_seconds,
        "volume-size": spec.volume_size_gb,
        "kms-key": spec.kms_key,
        "subnet": " ".join(spec.subnets) or None,
        "security-group": " ".join(spec.security_groups) or None,
        "network-isolation": spec.network_isolation or None,
        "keep-alive": spec.keep_alive_seconds,
        "retries": spec.retries,
        "price": spec.price_dollars,
    }
    return {option: value for option, value in values.items() if value is not None}


def _shown_size(size: int | None) -> bool | None:
    """Sizes are shown without what was typed, which nobody kept."""
    return None if size is None else True
