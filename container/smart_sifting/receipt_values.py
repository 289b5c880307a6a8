"""A receipt's dataclasses from the JSON values of a file, each value checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from smart_sifting.errors import ReceiptException

ADDED = {"added": True}
"""The metadata of a field that receipts of earlier releases do not have."""

T = TypeVar("T")


def from_values(cls: type[T], values: Any, where: str) -> T:
    """A dataclass from JSON values, by its own type hints. Raises ``ReceiptException``."""
    if not isinstance(values, Mapping):
        raise ReceiptException(f"{where} is {values!r:.60}, not an object")
    read_values = {}
    added = {each.name for each in fields(cls) if each.metadata.get("added")}  # type: ignore[arg-type]
    for name, hint in get_type_hints(cls).items():
        if name not in values:
            if name in added:
                continue
            raise ReceiptException(f"{where} has no {name}")
        read_values[name] = _value(hint, values[name], f"{where}.{name}")
    return cls(**read_values)


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return from_values(hint, value, where)  # type: ignore[arg-type]
    if get_origin(hint) is list:
        (inner,) = get_args(hint)
        if isinstance(value, list):
            return [_value(inner, each, f"{where}[{at}]") for at, each in enumerate(value)]
    elif get_origin(hint) is dict:
        if isinstance(value, dict) and all(isinstance(each, str) for each in value.values()):
            return dict(value)
    elif value is None and type(None) in get_args(hint):
        return None
    elif isinstance(value, bool):
        if hint is bool:
            return value
    elif isinstance(value, (int, float)) and (hint is float or float in get_args(hint)):
        return float(value)
    elif isinstance(hint, type) and isinstance(value, hint):
        return value
    raise ReceiptException(f"{where} is {value!r:.60}, not what a receipt has there")
