"""Where a job can run, and which options make sense there. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sift_launcher.errors import InstanceNotServed, OptionError

if TYPE_CHECKING:
    from sift_launcher.job_spec import JobSpec

PROCESS = "process"
LOCAL = "local"
LOCAL_GPU = "local_gpu"
SERVED = (PROCESS, LOCAL, LOCAL_GPU)

STOCK = "stock"
"""What `--image` takes for AWS's own training image."""

TORCHRUN = "torchrun"
DISTRIBUTIONS = (TORCHRUN, "none")
MAX_COUNT = 20  # SageMaker's own default quota of instances in one job

_USE = (
    "use --instance process (a process on this machine), local (a Docker container) or local_gpu "
    "(one with this machine's GPUs)"
)


def is_container(instance: str) -> bool:
    """Whether a job on `instance` runs in Docker on this machine."""
    return instance in (LOCAL, LOCAL_GPU)


def in_words(resources: dict[str, Any]) -> str:
    """Where a request's `ResourceConfig` runs: `in a container on this machine`."""
    count, instance = resources["InstanceCount"], resources["InstanceType"]
    one, many = ("a container", "containers") if is_container(instance) else ("a process", "")
    gpus = " with its GPUs" if instance == LOCAL_GPU else ""
    return f"in {one if count == 1 else f'{count} {many}'} on this machine{gpus}"


def check_instance(instance: str) -> None:
    """Raises InstanceNotServed, naming what to use, unless this build runs jobs on `instance`."""
    if instance in SERVED:
        return
    if instance.startswith("ml."):
        raise InstanceNotServed(
            f"this build cannot launch jobs in SageMaker (--instance {instance}): {_USE}"
        )
    near = get_close_matches(instance, SERVED, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise InstanceNotServed(f"unknown instance {instance!r}{hint}: {_USE}")


def check_options(spec: JobSpec) -> None:
    """Raises OptionError for options that mean nothing on the instance, or contradict others."""
    if not 1 <= spec.count <= MAX_COUNT:
        raise OptionError(f"--count {spec.count} is no number of hosts: 1 to {MAX_COUNT}")
    if spec.distribution not in (None, *DISTRIBUTIONS):
        raise OptionError(
            f"--distribution {spec.distribution} is unknown: {' or '.join(DISTRIBUTIONS)}"
        )
    if spec.distribution == TORCHRUN and not spec.script.endswith(".py"):
        raise OptionError(
            f"--distribution torchrun runs Python alone, and {spec.script} is none: "
            "call torchrun in it, with --distribution none"
        )
    if spec.instance == PROCESS:
        for option in _of_containers(spec):
            raise OptionError(
                f"{option} needs a container, and this job runs in a process: add --instance "
                f"local, or leave {option.split()[0]} out"
            )
        return
    if spec.python is not None:
        raise OptionError(
            f"--python {spec.python} is for --instance process: a container has the Python of its "
            "--image"
        )
    if spec.image is not None and not spec.image.strip():
        raise OptionError("--image names no image: write --image NAME:TAG, or leave it out")
    if spec.instance == LOCAL_GPU and spec.count > 1:
        raise OptionError(
            f"--count {spec.count} and --instance local_gpu contradict each other: one container "
            "gets every GPU of this machine; --distribution torchrun starts a rank for each"
        )


def _of_containers(spec: JobSpec) -> Iterator[str]:
    share = spec.share
    given = {
        "--image": spec.image,
        "--count": spec.count if spec.count > 1 else None,
        "--shm-size": share.shm_bytes,
        "--memory": share.memory_bytes,
        "--cpus": share.cpus,
        "--platform": share.platform,
    }
    for option, value in given.items():
        if value is not None:
            yield option if option in ("--shm-size", "--memory") else f"{option} {value}"
