"""What an image to build on is: its Python, and whether it has torch already."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sift_launcher.engine import EngineTraits
from sift_launcher.errors import ImageMissing, ImageUnfit
from sift_launcher.image.ask import ask_python
from sift_launcher.images import ImageFacts, inspect_image
from sift_launcher.pull import pull

if TYPE_CHECKING:
    from docker import DockerClient

_OLDEST_PYTHON = (3, 10)
_QUESTION = """
import json, sys
from importlib import metadata
try:
    torch = metadata.version("torch")
except metadata.PackageNotFoundError:
    torch = None
print(json.dumps({"python": sys.version_info[:3], "torch": torch}))
"""


@dataclass(frozen=True)
class BaseFacts:
    """An image that can be built on."""

    name: str
    kind: str
    """`plain`, `toolkit` (it has a `train` command of its own) or `ours`."""

    architecture: str
    """In Docker's words: `amd64`, `arm64`."""

    python: str
    """The version of its python3, such as `3.11.2`."""

    torch: str | None
    """The version of the torch that its python3 imports; None when there is none."""


def find_base(
    client: DockerClient,
    name: str,
    engine: EngineTraits,
    platform: str | None,
    report: Callable[[str], None] | None,
) -> BaseFacts:
    """What the image `name` is, which is pulled if it is not here and `report` is given.

    Raises ImageUnfit, with the mend, when it is not to be had, is for another architecture, or
    has no Python that we can use.
    """
    facts = _facts(client, name, engine, platform, report)
    answer = json.loads(ask_python(client, name, _QUESTION, platform))
    version = ".".join(map(str, answer["python"]))
    if tuple(answer["python"]) < _OLDEST_PYTHON:
        raise ImageUnfit(
            f"image {name} has Python {version}, and 3.10 or newer is needed: name another with "
            "--base"
        )
    return BaseFacts(name, facts.kind, facts.architecture, version, answer["torch"])


def _facts(
    client: DockerClient,
    name: str,
    engine: EngineTraits,
    platform: str | None,
    report: Callable[[str], None] | None,
) -> ImageFacts:
    try:
        return inspect_image(client, name, engine, platform)
    except ImageMissing:
        if report is None:
            raise
    tagged = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
    try:
        pull(client, tagged, platform, report)
    except ImageUnfit as error:
        raise ImageUnfit(
            f"base image {name} is not on this machine and cannot be had: {error} - where no "
            "registry can be reached, container/bootstrap makes a base (docs/images.md)"
        ) from error
    return inspect_image(client, name, engine, platform)
