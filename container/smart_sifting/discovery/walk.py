"""The tensors inside the arguments and results of any call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor inside nested containers, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors_in(each)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from tensors_in(getattr(value, field.name))
    elif isinstance(value, slice):
        yield from tensors_in((value.start, value.stop, value.step))


def map_values(value: Any, change: Callable[[Any], Any]) -> Any:
    """`value` with `change` applied to everything in it that is not a plain container.

    Mappings come back as dicts: what a call unpacks does not depend on more.
    """
    if isinstance(value, Mapping):
        return {key: map_values(each, change) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_values(each, change) for each in value))
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return type(value)(map_values(each, change) for each in value)
    if isinstance(value, slice):
        return slice(*map_values((value.start, value.stop, value.step), change))
    return change(value)
