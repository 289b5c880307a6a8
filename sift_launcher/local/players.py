"""What a request's instances are on this machine: a process, or containers. Pure.

Without a stand-in a request names it itself (`process`, `local`, `local_gpu`). With one, `ml.*`
instances are played by what the stand-in says. A process plays the `train` of any image: it runs
our entrypoint on the host's tree, so the request's own ContainerEntrypoint is the containers'.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sift_launcher.instances import is_container
from sift_launcher.local.stand_in import StandIn
from sift_launcher.paths import local_path

_KEY = "StandIn"


def to_settings(stand_in: StandIn | None) -> dict[str, Any]:
    """The stand-in as a part of a record's settings."""
    return {_KEY: stand_in.to_dict()} if stand_in else {}


def of_settings(settings: dict[str, Any]) -> StandIn | None:
    """The stand-in that `to_settings` kept."""
    return StandIn.from_dict(settings[_KEY]) if _KEY in settings else None


def is_played(request: dict[str, Any], stand_in: StandIn | None) -> bool:
    """Whether the request was written for SageMaker's own instances."""
    return stand_in is not None and instance_of(request).startswith("ml.")


def runs_in_containers(request: dict[str, Any], stand_in: StandIn | None) -> bool:
    """Whether the hosts are containers, not a process."""
    if stand_in is not None and is_played(request, stand_in):
        return stand_in.runs == "local"
    return is_container(instance_of(request))


def image_of(request: dict[str, Any], stand_in: StandIn | None) -> str:
    """The image of the containers."""
    if stand_in is not None and stand_in.image and is_played(request, stand_in):
        return stand_in.image
    return str(request["AlgorithmSpecification"]["TrainingImage"])


def interpreter_of(request: dict[str, Any], stand_in: StandIn | None) -> Path | None:
    """The Python of the process; None when the request names none."""
    if stand_in is not None and is_played(request, stand_in):
        return Path(stand_in.python)
    return local_path(request["AlgorithmSpecification"]["TrainingImage"])


def instance_of(request: dict[str, Any]) -> str:
    """The type of the instances, such as `ml.g5.xlarge`."""
    return str(request["ResourceConfig"]["InstanceType"])
