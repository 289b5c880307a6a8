"""The images that jobs run in: whether one is here, fits, and what it brings along."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sift_launcher.engine import EngineTraits, engine_address, reached
from sift_launcher.errors import ImageMissing, ImageUnfit

if TYPE_CHECKING:
    from docker import DockerClient

RUNTIME_LABEL = "sift-launcher.runtime"
"""Our images carry it; it says which runtime is installed in them (`runtime_digest`)."""

CPU_IMAGE = "sift-training:cpu"
GPU_IMAGE = "sift-training:gpu"

# What AWS's training images, and those that users make after AWS's own recipe, are known by.
_TOOLKIT_VARIABLES = ("SAGEMAKER_TRAINING_MODULE", "SAGEMAKER_PROGRAM")
_TOOLKIT_LABEL = "com.amazonaws.ml.engines.sagemaker.dlc"
_TOOLKIT_COMMAND = "train"


@dataclass(frozen=True)
class ImageFacts:
    """An image that is on this machine and runs on it."""

    name: str
    """As the user named it."""

    id: str
    architecture: str
    """In Docker's words: `amd64`, `arm64`."""

    runtime: str | None
    """The digest of the runtime installed in it; None when it is none of ours."""

    kind: str
    """`ours`; `toolkit`: it has a `train` command of its own; `plain`: neither."""

    python_path: str = ""
    """The PYTHONPATH that its processes would have."""


def inspect_image(
    client: DockerClient, name: str, engine: EngineTraits, platform: str | None = None
) -> ImageFacts:
    """What the image `name` is. Raises ImageUnfit, with what to type, when it is not here or is
    for another architecture than the engine's, unless `platform` asks for that one by name."""
    from docker.errors import APIError, ImageNotFound

    with reached(engine_address()):
        try:
            attributes: dict[str, Any] = client.images.get(name).attrs
        except ImageNotFound:
            raise missing(name) from None
        except APIError as error:
            if error.status_code != 400:
                raise
            raise ImageUnfit(
                f"{name!r} is not an image's name: write it as NAME:TAG, in small letters"
            ) from error
    facts = facts_of(name, attributes)
    wished = platform.split("/")[1] if platform and "/" in platform else engine.architecture
    if facts.architecture != wished:
        raise ImageUnfit(
            f"image {name} is for {facts.architecture}, and this engine runs {wished}: build it "
            f"for this machine (sift-launch build --base IMAGE), pull it with --platform "
            f"linux/{wished}, or emulate it with --platform linux/{facts.architecture}"
        )
    return facts


def missing(name: str) -> ImageMissing:
    """The error of an image that is not on this machine, with the command that brings it."""
    if name == CPU_IMAGE:
        return ImageMissing(f"there is no image {name} yet: sift-launch build makes it")
    if name == GPU_IMAGE:
        return ImageMissing(
            f"there is no image {name} yet: sift-launch build --device gpu makes it"
        )
    return ImageMissing(
        f"image {name} is not on this machine: docker pull {shlex.quote(name)}, "
        "or see docker image ls for those that are"
    )


def facts_of(name: str, attributes: dict[str, Any]) -> ImageFacts:
    """What an image is, by its `Id`, `Architecture` and `Config`, as the engine tells them."""
    config = attributes.get("Config") or {}
    labels = config.get("Labels") or {}
    variables = dict(each.partition("=")[::2] for each in config.get("Env") or [])
    runtime = labels.get(RUNTIME_LABEL)
    return ImageFacts(
        name=name,
        id=str(attributes["Id"]),
        architecture=str(attributes["Architecture"]),
        runtime=runtime,
        kind="ours" if runtime else _foreign_kind(config, labels, variables),
        python_path=variables.get("PYTHONPATH", ""),
    )


def _foreign_kind(config: dict[str, Any], labels: dict[str, str], variables: dict[str, str]) -> str:
    if any(name in variables for name in _TOOLKIT_VARIABLES):
        return "toolkit"
    if any(label.startswith(_TOOLKIT_LABEL) for label in labels):
        return "toolkit"
    command = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
    last = command[-1].rpartition("/")[2] if command else ""
    return "toolkit" if last == _TOOLKIT_COMMAND else "plain"
