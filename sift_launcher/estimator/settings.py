"""What `SiftPyTorch` makes of its arguments before the SDK gets them. Without the SDK."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sift_launcher.cloud.instance_types import has_gpu
from sift_launcher.errors import OptionError, SiftConfigError
from sift_launcher.images import CPU_IMAGE, GPU_IMAGE
from sift_launcher.instances import LOCAL, LOCAL_GPU, PROCESS
from sift_launcher.job_spec import DEFAULT_OUTPUT
from sift_launcher.paths import absolute, file_uri
from sift_launcher.stock import stock_image
from smart_sifting.errors import SiftConfigValidationException
from smart_sifting.sift_config.job_config import SiftConfig

if TYPE_CHECKING:
    from smart_sifting.sift_config.sift_configs import RelativeProbabilisticSiftConfig

SiftSettings: TypeAlias = (
    "SiftConfig | RelativeProbabilisticSiftConfig | Mapping[str, Any] | str | Path | None"
)

_INSTANCES_HERE = (PROCESS, LOCAL, LOCAL_GPU)


def read_sift_config(value: SiftSettings) -> SiftConfig | None:
    """A configuration from an object, a dict, JSON text or the name of a file of it; None is none.

    Raises SiftConfigError.
    """
    if value is None:
        return None
    where = ""
    if isinstance(value, Path) or (isinstance(value, str) and not value.lstrip().startswith("{")):
        where, value = f"{value}: ", _read(value)
    try:
        return SiftConfig.parse(value)
    except SiftConfigValidationException as error:
        raise SiftConfigError(f"{where}{error}") from error


def is_here(instance_type: object) -> bool:
    """Whether the instance is this machine."""
    return isinstance(instance_type, str) and instance_type in _INSTANCES_HERE


def image_here(instance_type: str, image: str | None) -> str:
    """What a job on this machine runs in: a process in this interpreter, whatever is asked for."""
    if instance_type == PROCESS:
        return file_uri(sys.executable)
    return image or (GPU_IMAGE if instance_type == LOCAL_GPU else CPU_IMAGE)


def image_in_the_cloud(instance_type: object, region: str) -> str:
    """AWS's own training image for the instance and region."""
    is_gpu = isinstance(instance_type, str) and has_gpu(instance_type)
    return stock_image({"AWS_REGION": region}, "gpu" if is_gpu else "cpu")


def region_of_the_environment() -> str:
    """The region whose names for AWS's images a job on this machine uses."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def output_here(path: str | None) -> str:
    """The folder for outputs as an address: one that is named, or the command's own default."""
    named = str(path or DEFAULT_OUTPUT)
    if named.startswith("s3://"):
        raise OptionError(
            f"output_path {named} is in S3, and a job on this machine writes to a folder of it: "
            "name one, or leave output_path out"
        )
    return named.rstrip("/") if named.startswith("file://") else file_uri(absolute(named))


def _read(name: str | Path) -> str:
    try:
        return Path(name).expanduser().read_text("utf-8")
    except UnicodeDecodeError as error:
        raise SiftConfigError(f"sift_config {name} is not text: name a JSON file") from error
    except OSError as error:
        raise SiftConfigError(
            f"sift_config {name!r} is neither JSON nor a file ({error.strerror}): write "
            '{"keep": 0.5}, or the name of a file of it'
        ) from error
