"""From the options' text to the specification's values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from sift_launcher.errors import OptionError, SiftConfigError
from sift_launcher.job_spec import S3, Channel, HyperParameter
from sift_launcher.local.machine import MachineShare
from smart_sifting.errors import SiftConfigValidationException
from smart_sifting.sift_config.job_config import AUTO, LEAST_AUTO, SiftConfig

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([bkmgt]?)b?", re.IGNORECASE)
_PLATFORM = re.compile(r"linux/[a-z0-9_]+(/v\d+)?")
_LEAST_CPUS = 0.01  # Docker's own


def hyperparameters(typed: Sequence[str]) -> dict[str, HyperParameter]:
    """`KEY=VALUE`s. A value that is a JSON scalar keeps its type; anything else is text."""
    pairs = _pairs(typed, "-p", "KEY=VALUE", "epochs=3")
    return {key: _scalar(value) for key, value in pairs.items()}


def environment(typed: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE`s, all text."""
    return _pairs(typed, "--env", "KEY=VALUE", "OMP_NUM_THREADS=2")


def labels(typed: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE`s of an image."""
    return _pairs(typed, "--label", "KEY=VALUE", "team=vision")


def tags(typed: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE`s of a job."""
    return _pairs(typed, "--tag", "KEY=VALUE", "team=vision")


def metrics(typed: Sequence[str]) -> dict[str, str]:
    """`NAME=REGEX`s."""
    return _pairs(typed, "--metric", "NAME=REGEX", "'loss=loss: ([0-9.]+)'")


def channels(typed: Sequence[str]) -> dict[str, Channel]:
    """`CHANNEL=PLACE`s."""
    pairs = _pairs(typed, "--data", "CHANNEL=PATH", "train=data/")
    for name, place in pairs.items():
        if not place:
            raise OptionError(f"--data {name}= names no path: write --data {name}=PATH")
    return {name: Channel(_at_home(place)) for name, place in pairs.items()}


def sharded(channels: Mapping[str, Channel], names: Sequence[str]) -> dict[str, Channel]:
    """`channels`, those of `names` in shares."""
    for name in names:
        if name not in channels:
            near = get_close_matches(name, channels, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise OptionError(
                f"--shard {name} names no channel{hint}: add --data {name}=PLACE, or leave it out"
            )
    return {
        name: replace(channel, sharded=channel.sharded or name in names)
        for name, channel in channels.items()
    }


def machine_share(
    shm_size: str | None, memory: str | None, cpus: float | None, platform: str | None
) -> MachineShare:
    """What each container gets of this machine."""
    if cpus is not None and not cpus >= _LEAST_CPUS:
        raise OptionError(f"--cpus {cpus:g} is no number of processors: 0.01 or more, as 1.5")
    if platform is not None and not _PLATFORM.fullmatch(platform):
        raise OptionError(
            f"--platform {platform!r} is not OS/ARCHITECTURE: write it as linux/amd64 or "
            "linux/arm64"
        )
    return MachineShare(_size("--shm-size", shm_size), _size("--memory", memory), cpus, platform)


def sift_config(
    keep: float | str | None,
    beta: float | None,
    sift_delay: int | None,
    text: str | None,
    loss: str | None,
    no_sift: bool,
) -> SiftConfig | None:
    """The configuration that the sifting options describe; None without sifting.

    `text` is JSON or the name of a file of it; the other options override it.
    """
    given = {"--keep": keep, "--beta": beta, "--sift-delay": sift_delay, "--loss": loss}
    named = [name for name, value in (given | {"--sift-config": text}).items() if value is not None]
    if no_sift:
        if named:
            raise SiftConfigError(f"--no-sift and {named[0]} contradict each other: leave one out")
        return None
    if keep is not None and beta is not None:
        raise SiftConfigError(
            f"--keep {_typed(keep)} and --beta {beta:g} say the same thing twice "
            "(keep = 1/(1+beta)): give one of them"
        )
    base = SiftConfig() if text is None else _parsed(text)
    try:
        if beta is not None:
            keep = SiftConfig.parse({"beta_value": beta}).keep
        changes: dict[str, Any] = {"keep": keep, "sift_delay": sift_delay, "loss": loss}
        if keep is not None:
            changes |= {"auto": keep == AUTO, "keep": LEAST_AUTO if keep == AUTO else keep}
        return replace(base, **{key: each for key, each in changes.items() if each is not None})
    except SiftConfigValidationException as error:
        typed = ", ".join(
            f"{name} {_typed(value)}" for name, value in given.items() if value is not None
        )
        raise SiftConfigError(f"{typed}: {error}") from error


def _typed(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _at_home(place: str) -> str:
    """No shell fills in a ~ behind an equals sign."""
    return place if place.startswith(S3) else str(Path(place).expanduser())


def _parsed(text: str) -> SiftConfig:
    content, where = (text, "--sift-config") if text.lstrip().startswith("{") else _file(text)
    try:
        return SiftConfig.parse(content)
    except SiftConfigValidationException as error:
        raise SiftConfigError(f"{where}: {error}") from error


def _file(name: str) -> tuple[str, str]:
    try:
        return Path(name).expanduser().read_text("utf-8"), f"--sift-config {name}"
    except UnicodeDecodeError as error:
        raise SiftConfigError(f"--sift-config {name} is not text: name a JSON file") from error
    except OSError as error:
        raise SiftConfigError(
            f"--sift-config {name}: {error.strerror}; name a JSON file, or write JSON such as "
            """'{"keep": 0.5}'"""
        ) from error


def _size(option: str, typed: str | None) -> int | None:
    """Bytes, from Docker's own notation: 512m, 2g, 1.5G, 64MB; powers of 1024."""
    if typed is None:
        return None
    read = _SIZE.fullmatch(typed.strip())
    size = int(float(read[1]) * 1024 ** "bkmgt".index((read[2] or "b").lower())) if read else 0
    if size == 0:
        raise OptionError(f"{option} {typed!r} is not a size: write it as {option} 512m or 2g")
    return size


def _pairs(typed: Sequence[str], option: str, form: str, example: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for each in typed:
        key, equals, value = each.partition("=")
        if not equals or not key:
            raise OptionError(f"{option} {each!r} is not {form}: write it as {option} {example}")
        if key in pairs:
            raise OptionError(f"{option} {key} is given twice: leave one out")
        pairs[key] = value
    return pairs


def _scalar(text: str) -> HyperParameter:
    try:
        value = json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text
    is_scalar = not isinstance(value, list | dict) and value not in (math.inf, -math.inf)
    return value if is_scalar else text


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity are not JSON, though Python reads them
