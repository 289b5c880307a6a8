"""Whether a request has the shape that SageMaker takes, by its own description of its API. Pure.

The texts are those of SageMaker's ValidationException, so that a rehearsal answers as AWS does.
Source: the shapes that come with botocore; their patterns are Java's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from sift_launcher.cloud.service_model import service_model

_MAX_SHOWN = 256
# Classes of Java's that Python has no name for. What they stand for here is never narrower.
_CLASSES = {r"\p{Alnum}": "a-zA-Z0-9", r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s"}
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "structure": (Mapping,),
    "map": (Mapping,),
    "list": (list, tuple),
}


def violations(operation: str, request: Mapping[str, Any]) -> list[str]:
    """What is wrong with `request`, a text for each constraint that it fails; [] when nothing."""
    model = service_model()
    shape = model["operations"][operation]["input"]["shape"]
    return list(_structure(shape, request, ""))


def in_words(found: Sequence[str]) -> str:
    """All violations as the one message that SageMaker sends."""
    errors = "error" if len(found) == 1 else "errors"
    return f"{len(found)} validation {errors} detected: {'; '.join(found)}"


def _structure(name: str, value: Mapping[str, Any], path: str) -> Iterator[str]:
    shape = _shape(name)
    members = shape["members"]
    for required in shape.get("required", []):
        if value.get(required) is None:
            yield _failed("null", _join(path, _camel(required)), "Member must not be null")
    for key, inner in value.items():
        where = _join(path, _camel(str(key)))
        if key not in members:
            yield _failed(_shown(inner), where, "Member must be one that the operation has")
        elif inner is not None:
            yield from _value(members[key]["shape"], inner, where)


def _value(name: str, value: Any, path: str) -> Iterator[str]:
    shape = _shape(name)
    kind = shape["type"]
    if not _is_of(kind, value):
        yield _failed(_shown(value), path, f"Member must be of type {kind}")
        return
    for constraint in _constraints(shape, value):
        yield _failed(_shown(value), path, constraint)
    if kind == "structure":
        yield from _structure(name, value, path)
    elif kind == "list":
        for number, each in enumerate(value, 1):
            yield from _value(shape["member"]["shape"], each, f"{path}.{number}.member")
    elif kind == "map":
        yield from _map(shape, value, path)


def _map(shape: Mapping[str, Any], value: Mapping[str, Any], path: str) -> Iterator[str]:
    for side, members in (("key", value.keys()), ("value", value.values())):
        inner = _shape(shape[side]["shape"])
        wrong = [
            each
            for each in members
            if not _is_of(inner["type"], each) or any(_constraints(inner, each))
        ]
        if wrong:
            told = ", ".join(_all_constraints(inner)) or f"Member must be of type {inner['type']}"
            shown = _shown({side: wrong[0]} if side == "key" else wrong[0])
            yield _failed(shown, path, f"Map {side} must satisfy constraint: [{told}]")


def _is_of(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES.get(kind, (object,)))


def _constraints(shape: Mapping[str, Any], value: Any) -> Iterator[str]:
    """The constraints of `shape` itself that `value` fails."""
    kind = shape["type"]
    size = len(value) if kind in ("string", "list", "map") else value
    if "max" in shape and kind != "structure" and size > shape["max"]:
        yield _at_most(shape)
    if "min" in shape and kind != "structure" and size < shape["min"]:
        yield _at_least(shape)
    if "pattern" in shape and not _matches(shape["pattern"], value):
        yield _of_pattern(shape)
    if "enum" in shape and value not in shape["enum"]:
        yield _of_enum(shape)


def _all_constraints(shape: Mapping[str, Any]) -> Iterator[str]:
    told = {"max": _at_most, "min": _at_least, "pattern": _of_pattern, "enum": _of_enum}
    for key, text in told.items():
        if key in shape:
            yield text(shape)


def _at_most(shape: Mapping[str, Any]) -> str:
    return f"Member must have {_measure(shape)} less than or equal to {shape['max']}"


def _at_least(shape: Mapping[str, Any]) -> str:
    return f"Member must have {_measure(shape)} greater than or equal to {shape['min']}"


def _measure(shape: Mapping[str, Any]) -> str:
    return "length" if shape["type"] in ("string", "list", "map") else "value"


def _of_pattern(shape: Mapping[str, Any]) -> str:
    return f"Member must satisfy regular expression pattern: {shape['pattern']}"


def _of_enum(shape: Mapping[str, Any]) -> str:
    return f"Member must satisfy enum value set: [{', '.join(shape['enum'])}]"


def _matches(pattern: str, text: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.fullmatch(text) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """None for a pattern that Python cannot read: of none that training jobs have."""
    for theirs, ours in _CLASSES.items():
        pattern = pattern.replace(theirs, ours)
    try:
        return re.compile(pattern)
    except re.error:
        return None


def _shape(name: str) -> Mapping[str, Any]:
    shape: Mapping[str, Any] = service_model()["shapes"][name]
    return shape


def _failed(shown: str, path: str, constraint: str) -> str:
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


def _shown(value: Any) -> str:
    text = str(value)
    return f"'{text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + '...'}'"


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
