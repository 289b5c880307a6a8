"""Defaults for the options, from the project's `sift.toml` or `[tool.sift]` of `pyproject.toml`.

Keys are the long names of the options. What is typed wins over a named profile, and that over the
rest of the file. A default that means nothing where a job runs is passed over: one file serves
this machine and SageMaker.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from sift_launcher.cli.share import Share
from sift_launcher.errors import SettingsFileError
from sift_launcher.instances import is_cloud, means_something
from sift_launcher.job_spec import S3, Channel
from sift_launcher.paths import absolute
from smart_sifting.sift_config.job_config import AUTO

NAMES = ("sift.toml", "pyproject.toml")
PROFILES = "profiles"

TABLES = {
    "data": "data",
    "hyperparameters": "hyperparameter",
    "env": "env",
    "tags": "tag",
    "metrics": "metric",
}
"""The tables, and the options that they are defaults of."""

_NEVER = {
    "name": "a second job cannot have the name of the first",
    "yes": "nobody is asked then",
    "dry-run": "nothing would ever start",
    "json": "it is about one call",
    "with": "it chooses a profile of this file",
    "help": "it is no setting",
    "version": "it is no setting",
}
_PLACES = ("output", "checkpoint", "source-dir")
# Saying one anew takes back what the file says of the others.
_SAME_MATTER = (
    ("keep", "beta", "no-sift"),
    ("beta", "keep", "no-sift"),
    ("sift-delay", "no-sift"),
    ("sift-config", "no-sift"),
    ("loss", "no-sift"),
    ("no-sift", "keep", "beta", "sift-delay", "sift-config", "loss"),
)
_TEXT = 'text, as "..."'
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True)
class Settings:
    """What a file says, by the options' long names; pairs as one mapping each."""

    path: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


def find_settings(folder: Path) -> Path | None:
    """The nearest file with settings, from `folder` upwards to the project's or the user's top."""
    home = Path.home()
    for each in (folder, *folder.parents):
        for name in NAMES:
            if (path := each / name).is_file() and _is_ours(path):
                return path
        if (each / ".git").exists() or each == home:
            return None
    return None


def read_settings(
    path: Path, options: Collection[click.Option], profile: str | None = None
) -> Settings:
    """What `path` says, with what its `profile` says instead. Places are made absolute.

    Raises SettingsFileError, which names the file and the key.
    """
    table = _load(path)
    profiles = table.pop(PROFILES, {})
    if not isinstance(profiles, dict) or not all(isinstance(p, dict) for p in profiles.values()):
        raise SettingsFileError(
            f"{path}: {PROFILES} holds what is no profile: write [{PROFILES}.NAME] and its keys "
            "below"
        )
    reader = _Reader(path, {_long_name(option): option for option in options})
    read = reader.table(table, "")
    # All of them are read: a slip shows itself before the day it is used.
    named = {name: reader.table(own, f"{PROFILES}.{name}.") for name, own in profiles.items()}
    if profile is None:
        return Settings(path, read)
    if profile not in named:
        raise SettingsFileError(f"{path} {_no_profile(profile, named)}")
    return Settings(path, _merged(read, named[profile]))


def apply_settings(
    settings: Settings, typed: Mapping[str, Any], is_typed: Callable[[str], bool]
) -> dict[str, Any]:
    """All options by their parameters' names: what was typed, else what the file says.

    `typed` has their own defaults where `is_typed` says no.
    """
    own = dict(settings.values)
    for option, *others in _SAME_MATTER:
        if is_typed(_parameter(option)):
            for other in others:
                own.pop(other, None)
    instance = typed["instance"] if is_typed("instance") else own.get("instance", typed["instance"])
    values = dict(typed)
    for option, value in own.items():
        name = _parameter(option)
        if not _fits(option, value, instance):
            continue
        if option == "data":
            values[name] = _channels(value, typed[name])
        elif isinstance(value, Mapping):
            values[name] = {**value, **typed[name]}
        elif not is_typed(name):
            values[name] = value
    return values


def _is_ours(path: Path) -> bool:
    if path.name != "pyproject.toml":
        return True
    try:
        content = path.read_bytes()
    except OSError:
        return False  # somebody else's
    return b"sift" in content and bool(_tables(content, path).get("tool", {}).get("sift"))


def _load(path: Path) -> dict[str, Any]:
    try:
        table = _tables(path.read_bytes(), path)
    except OSError as error:
        raise SettingsFileError(
            f"cannot read {path} ({error.strerror}): it holds the defaults of sift-launch"
        ) from error
    own = table["tool"]["sift"] if path.name == "pyproject.toml" else table
    if not isinstance(own, dict):
        raise SettingsFileError(f"{path}: tool.sift is no table: write [tool.sift]")
    return dict(own)


def _tables(content: bytes, path: Path) -> dict[str, Any]:
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        table: dict[str, Any] = toml.loads(content.decode("utf-8"))
    except ValueError as error:  # TOML's own, and of bytes that are no text
        raise SettingsFileError(f"{path} is not TOML: {error}") from error
    return table


def _long_name(option: click.Option) -> str:
    return max(option.opts, key=len).removeprefix("--")


def _parameter(option: str) -> str:
    return option.replace("-", "_")


def _no_profile(profile: str, known: Collection[str]) -> str:
    near = get_close_matches(profile, known, n=1)
    if near:
        return f"has no [{PROFILES}.{profile}]: did you mean --with {near[0]}?"
    if known:
        return f"has no [{PROFILES}.{profile}]: there are {', '.join(sorted(known))}"
    return f"has no profiles: write [{PROFILES}.{profile}] and its keys below"


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for option, *others in _SAME_MATTER:
        if option in over:
            for other in others:
                merged.pop(other, None)
    for option, value in over.items():
        both = isinstance(value, Mapping) and option in merged
        merged[option] = {**merged[option], **value} if both else value
    return merged


def _fits(option: str, value: Any, instance: str) -> bool:
    if option in ("output", "checkpoint") and str(value).startswith(S3) != is_cloud(instance):
        return False
    return means_something(option, instance)


def _channels(own: Mapping[str, Channel], typed: Mapping[str, Channel]) -> dict[str, Channel]:
    """What is typed says where a channel lies, and leaves how the hosts get it to the file."""
    moved = {
        name: replace(own[name], place=channel.place) if name in own else channel
        for name, channel in typed.items()
    }
    return {**own, **moved}


class _Reader:
    """Checks values against the options, and brings places into the form that is typed."""

    def __init__(self, path: Path, options: Mapping[str, click.Option]) -> None:
        self._path = path
        self._options = options

    def table(self, table: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The values of one table of options; `where` stands before its keys in messages."""
        return dict(self._entry(key, value, where) for key, value in table.items())

    def _entry(self, key: str, value: Any, where: str) -> tuple[str, Any]:
        shown = where + key
        if key in TABLES:
            return TABLES[key], self._pairs(key, value, shown)
        option = self._options.get(key)
        if isinstance(value, dict):
            near = get_close_matches(key, [*TABLES, PROFILES], n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise self._error(shown, f"is no table of options{hint}")
        if option is None or key in TABLES.values():
            raise self._error(shown, f"is no option{self._nearest(key)}")
        if key in _NEVER:
            raise self._error(shown, f"is for the command line alone: {_NEVER[key]}")
        return key, self._value(key, option, value, shown)

    def _value(self, key: str, option: click.Option, value: Any, shown: str) -> Any:
        if option.multiple:
            listed = [value] if isinstance(value, str) else value
            if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
                raise self._wrong(shown, value, 'a list of texts, as ["a", "b"]')
            return tuple(listed)
        if option.is_flag:
            if not isinstance(value, bool):
                raise self._wrong(shown, value, "true or false")
            return value
        if option.type is click.INT:
            if not isinstance(value, int) or isinstance(value, bool):
                raise self._wrong(shown, value, "a whole number")
            return value
        if option.type is click.FLOAT:
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise self._wrong(shown, value, "a number")
            return float(value)
        if isinstance(option.type, Share):
            if value != AUTO and (not isinstance(value, int | float) or isinstance(value, bool)):
                raise self._wrong(shown, value, f'a number, or "{AUTO}"')
            return value if value == AUTO else float(value)
        if not isinstance(value, str):
            raise self._wrong(shown, value, _TEXT)
        is_file = key == "sift-config" and not value.lstrip().startswith("{")
        if key in _PLACES or is_file or (key == "python" and "/" in value):
            return self._place(value, shown)
        return value

    def _pairs(self, key: str, value: Any, shown: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._wrong(shown, value, f"a table: [{shown}], and its keys below")
        if key == "data":
            return {name: self._channel(own, f"{shown}.{name}") for name, own in value.items()}
        for name, own in value.items():
            if key == "hyperparameters":
                if not isinstance(own, str | int | float):
                    raise self._wrong(f"{shown}.{name}", own, "text, a number, true or false")
            elif not isinstance(own, str):
                raise self._wrong(f"{shown}.{name}", own, _TEXT)
        return dict(value)

    def _channel(self, value: Any, shown: str) -> Channel:
        if isinstance(value, str):
            return Channel(self._place(value, shown))
        if not isinstance(value, dict):
            raise self._wrong(shown, value, 'a place, or {place = "...", shard = true}')
        types = {"place": str, "shard": bool, "input-mode": str}
        for key, own in value.items():
            if key not in types:
                near = get_close_matches(key, types, n=1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                raise self._error(f"{shown}.{key}", f"is no part of a channel{hint}")
            if not isinstance(own, types[key]):
                wanted = "true or false" if key == "shard" else _TEXT
                raise self._wrong(f"{shown}.{key}", own, wanted)
        if "place" not in value:
            raise self._error(shown, "says not where the data is: add place")
        place = self._place(value["place"], f"{shown}.place")
        return Channel(place, value.get("shard", False), value.get("input-mode"))

    def _place(self, typed: str, shown: str) -> str:
        """An `s3://` address, or an absolute path: it is read from the file's own folder."""

        def variable(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            if name not in os.environ:
                raise self._error(shown, f"speaks of ${name}, which the environment does not have")
            return os.environ[name]

        place = _VARIABLE.sub(variable, typed)
        if not place:
            raise self._error(shown, "names no place: write a path or s3://BUCKET/PREFIX")
        if place.startswith(S3):
            return place
        return str(absolute(self._path.parent / Path(place).expanduser()))

    def _nearest(self, key: str) -> str:
        known = [name for name in self._options if name not in (*_NEVER, *TABLES.values())]
        near = get_close_matches(key, [*known, *TABLES, PROFILES], n=1, cutoff=0.5)
        return f" (did you mean {near[0]}?)" if near else " (sift-launch --help lists them)"

    def _wrong(self, shown: str, value: Any, wanted: str) -> SettingsFileError:
        return self._error(shown, f"is {_in_toml(value)}: write {wanted}")

    def _error(self, shown: str, told: str) -> SettingsFileError:
        where = self._path if self._path.name == NAMES[0] else f"{self._path} [tool.sift]"
        return SettingsFileError(f"{where}: {shown} {told}")


def _in_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "a table" if isinstance(value, dict) else repr(value)
