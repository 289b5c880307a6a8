"""Building an image on the engine, with its events as they come."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

from sift_launcher.engine import engine_address, reached
from sift_launcher.errors import BuildFailed
from sift_launcher.image.context import tar_stream
from sift_launcher.image.plan import BuildPlan

if TYPE_CHECKING:
    from docker import DockerClient

_STEP = re.compile(r"(?:Step|STEP) (\d+)/(\d+) ?: (.*)")
_NOISE = re.compile(r" ?--->|Removing intermediate container|Successfully (built|tagged) ")
# How pip, install.py after its manner, and apt begin what is wrong; and what pip's conflicts are.
_COMPLAINT = re.compile(r"ERROR:|E: | +The user requested| +\S+ \S+ depends on ")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_KEPT_LINES = 40
_LONGEST = 1000


@dataclass(frozen=True)
class Built:
    """An image that is there now."""

    id: str
    size: int
    """Unpacked, in bytes."""


@dataclass(frozen=True)
class Progress:
    """How far a build is."""

    step: int
    steps: int
    text: str
    """The step, at its beginning; then each line that it prints."""

    is_beginning: bool


def build(
    client: DockerClient, plan: BuildPlan, use_cache: bool, report: Callable[[Progress], None]
) -> Built:
    """Builds and tags the image.

    Raises BuildFailed, which ends with what the failing step complained of. When this process
    ends, the engine ends the step and removes its container.
    """
    from docker.errors import APIError

    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    step, steps = 0, 0
    with reached(engine_address()):
        try:
            for event in _events(client, plan, use_cache):
                if "error" in event:
                    raise _failure(plan, str(event["error"]), lines)
                for line in _lines(event):
                    if found := _STEP.match(line):
                        step, steps = int(found[1]), int(found[2])
                        lines.clear()
                        report(Progress(step, steps, found[3], is_beginning=True))
                    elif not _NOISE.match(line):
                        lines.append(line)
                        report(Progress(step, steps, line, is_beginning=False))
        except APIError as error:
            raise _failure(plan, error.explanation or str(error), lines) from error
        attributes = client.images.get(plan.image).attrs
    return Built(str(attributes["Id"]), int(attributes["Size"]))


def _events(client: DockerClient, plan: BuildPlan, use_cache: bool) -> Iterator[dict[str, Any]]:
    events: Iterator[dict[str, Any]] = client.api.build(
        # It is handed on to requests, which streams whatever can be iterated.
        fileobj=cast("IO[bytes]", tar_stream(plan.files)),
        custom_context=True,
        tag=plan.image,
        buildargs=dict(plan.arguments),
        platform=plan.platform,
        network_mode=None if plan.has_network else "none",
        nocache=not use_cache,
        rm=True,
        forcerm=True,
        decode=True,
        use_config_proxy=True,
    )
    return events


def _lines(event: dict[str, Any]) -> Iterator[str]:
    """What a step printed. Each event of a builder is a line, with colours for its stderr."""
    for line in _COLOUR.sub("", str(event.get("stream") or "")).splitlines():
        if line.strip():
            yield line.rstrip()


def _failure(plan: BuildPlan, told: str, lines: Iterable[str]) -> BuildFailed:
    if "no space left on device" in f"{told} {' '.join(lines)}".lower():
        return BuildFailed(
            f"image {plan.image} could not be built: the engine's disk is full: docker system df "
            "shows what fills it, docker image prune frees what no image uses"
        )
    complaints = [line.strip() for line in lines if _COMPLAINT.match(line)] or [*lines][-2:]
    said = " ".join(complaints) if complaints and "non-zero code" in told else told
    return BuildFailed(f"image {plan.image} could not be built: {said[-_LONGEST:]}")
