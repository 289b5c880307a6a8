"""Bringing an image from its registry, with a report on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from sift_launcher.bundle import megabytes
from sift_launcher.engine import engine_address, reached
from sift_launcher.errors import ImageUnfit, JobInterrupted

if TYPE_CHECKING:
    from docker import DockerClient

Report: TypeAlias = "Callable[[str], None]"

_LAYER_HERE = ("Pull complete", "Already exists")


def pull(client: DockerClient, name: str, platform: str | None, report: Report) -> None:
    """Pulls the image `name`; `report` gets how far it is, one line at a time, many a second.

    Raises ImageUnfit, with what to type, when the registry does not give it, JobInterrupted on
    Ctrl-C; the engine then ends the pull and keeps the layers that were whole.
    """
    from docker.errors import APIError

    layers: dict[str, _Layer] = {}
    try:
        with reached(engine_address()):
            try:
                events = client.api.pull(name, stream=True, decode=True, platform=platform)
                for event in events:
                    if "error" in event:
                        raise refusal(name, str(event["error"]), platform)
                    if _count(layers, event):
                        report(_so_far(name, layers))
            except APIError as error:
                raise refusal(name, error.explanation or str(error), platform) from error
    except KeyboardInterrupt:
        raise JobInterrupted(f"pulling image {name} was interrupted; nothing was started") from None


class _Layer:
    """How far a layer of the image is, in bytes."""

    def __init__(self) -> None:
        self.fetched = 0
        self.size = 0
        self.is_here = False


def _count(layers: dict[str, _Layer], event: dict[str, Any]) -> bool:
    """Takes `event` into account; whether it was about a layer."""
    status, layer_id = event.get("status", ""), event.get("id")
    if not layer_id or status.startswith("Pulling from"):
        return False
    layer = layers.setdefault(layer_id, _Layer())
    detail = event.get("progressDetail") or {}
    if status == "Downloading":
        layer.fetched = detail.get("current", layer.fetched)
        layer.size = detail.get("total", layer.size)
    elif status != "Waiting":
        layer.fetched = layer.size
    layer.is_here = status in _LAYER_HERE
    return True


def _so_far(name: str, layers: dict[str, _Layer]) -> str:
    fetched = sum(layer.fetched for layer in layers.values())
    size = sum(layer.size for layer in layers.values())
    here = sum(layer.is_here for layer in layers.values())
    return (
        f"pulling {name}: {megabytes(fetched)} of {megabytes(size)}, {here} of {len(layers)} layers"
    )


def refusal(name: str, told: str, platform: str | None) -> ImageUnfit:
    """The error for what an engine has `told` of an image that it could not pull."""
    text = told.lower()
    if any(word in text for word in ("denied", "no basic auth", "unauthorized", "authentication")):
        return ImageUnfit(
            f"the registry gives image {name} only to those it knows, or has none of that name: "
            f"{_login(name)}, or mend --image"
        )
    if "no matching manifest" in text or "does not match the specified platform" in text:
        wished = platform or "this machine's architecture"
        return ImageUnfit(
            f"image {name} is not made for {wished}: name another with --platform, as in "
            "--platform linux/amd64"
        )
    if "not found" in text or "manifest unknown" in text or "does not exist" in text:
        return ImageUnfit(f"the registry has no image {name}: mend --image ({_short(told)})")
    if "no space left" in text:
        return ImageUnfit(
            f"there is no room for image {name} on the engine's disk: docker image prune frees "
            "what no image uses"
        )
    return ImageUnfit(f"image {name} cannot be pulled: {_short(told)}")


def _login(name: str) -> str:
    registry = name.split("/")[0] if "/" in name else ""
    if ".dkr.ecr." in registry:
        region = registry.split(".")[3]
        return (
            f"aws ecr get-login-password --region {region} | "
            f"docker login --username AWS --password-stdin {registry}"
        )
    is_host = "." in registry or ":" in registry
    return f"docker login {registry}" if is_host else "docker login"


def _short(told: str) -> str:
    return told if len(told) <= 200 else told[:197] + "..."
