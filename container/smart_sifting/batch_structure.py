"""The parts of a nested batch, and how they can be read as n samples.

The rules are those that ``smart_sifting.batches`` states.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Literal

import torch
from torch.nn.utils.rnn import PackedSequence

from smart_sifting.data_model.data_model_interface import SiftingBatch
from smart_sifting.data_model.list_batch import ListBatch

Reading = Literal["features", "samples", "either"]


def fits(node: Any, n: int, shared_ok: bool, listed: bool = False) -> bool:
    """Whether ``node`` can be read as n samples."""
    if is_array(node):
        return bool(node.shape[0] == n)
    if node is None:
        return True
    fields = fields_of(node)
    if fields is not None:
        listed = isinstance(node, ListBatch)
        return all(fits(value, n, shared_ok, listed) for value in fields.values())
    if is_sequence(node):
        return reading_of(node, n, shared_ok, listed) is not None
    return shared_ok and is_shared(node)


def reading_of(node: Any, n: int, shared_ok: bool, listed: bool = False) -> Reading | None:
    """How a list can be read as n samples."""
    if listed:
        return "samples" if len(node) == n else None
    samples = len(node) == n and len({sort_of(item) for item in node if item is not None}) <= 1
    # A number in each of several like records is a sample's own, as in [(image, 3), (image, 5)].
    shared_ok = shared_ok and not are_like_records(node)
    features = any(is_array(item) or is_nested(item) for item in node) and all(
        fits(item, n, shared_ok) for item in node
    )
    if samples and features:
        return "either"
    if features:
        return "features"
    return "samples" if samples else None


def leaves(node: Any) -> Iterator[Any]:
    """What is no container, in the order of the structure; the items of every list are walked."""
    fields = fields_of(node)
    if fields is not None:
        for value in fields.values():
            yield from leaves(value)
    elif is_sequence(node):
        for item in node:
            yield from leaves(item)
    else:
        yield node


def fields_of(node: Any) -> dict[Any, Any] | None:
    """The fields of a container whose parts have names, else None."""
    if isinstance(node, Mapping):
        return dict(node)
    if isinstance(node, PackedSequence):
        return None
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        return dict(zip(node._fields, node, strict=True))
    if isinstance(node, SiftingBatch):
        return {"inputs": node.inputs, "labels": node.labels}
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        return {each.name: getattr(node, each.name) for each in dataclasses.fields(node)}
    return None


def rebuild(node: Any, values: dict[Any, Any]) -> Any:
    """A container like ``node`` with ``values`` in its fields; ``node`` stays as it is."""
    if type(node) is dict:
        return values
    if isinstance(node, MutableMapping):
        rebuilt = copy.copy(node)
        for key, value in values.items():
            rebuilt[key] = value
        return rebuilt
    if isinstance(node, Mapping):
        return type(node)(values)  # type: ignore[call-arg]
    if isinstance(node, tuple):
        return type(node)(*values.values())
    rebuilt = copy.copy(node)
    for key, value in values.items():
        # Past the lock of a frozen dataclass: the copy is ours.
        object.__setattr__(rebuilt, key, value)
    return rebuilt


def same_sequence(node: Any, items: list[Any]) -> Any:
    """``items`` as a list or tuple of the type of ``node``."""
    return items if type(node) is list else type(node)(items)


def is_array(node: Any) -> bool:
    """A tensor or numpy array with a dimension to index."""
    if isinstance(node, torch.Tensor):
        return node.ndim > 0 and not node.is_nested
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(node, numpy.ndarray) and node.ndim > 0


def is_sequence(node: Any) -> bool:
    """A list or tuple whose items have no names."""
    return (
        isinstance(node, (list, tuple))
        and not hasattr(node, "_fields")
        and not isinstance(node, PackedSequence)
    )


def is_nested(node: Any) -> bool:
    """Anything with parts."""
    return is_sequence(node) or fields_of(node) is not None


def is_shared(node: Any) -> bool:
    """A value that has no samples in it."""
    if node is None or isinstance(node, (int, float, complex, str, bytes)):
        return True
    numpy = sys.modules.get("numpy")
    return getattr(node, "ndim", None) == 0 and (
        isinstance(node, torch.Tensor)
        or (numpy is not None and isinstance(node, (numpy.ndarray, numpy.generic)))
    )


def sort_of(item: Any) -> Any:
    """What kind of thing a sample is: the items of a leaf are all of one."""
    if isinstance(item, torch.Tensor) or is_array(item):
        return ("array", item.ndim)
    for sort in (str, bytes, (int, float, complex), Mapping, (list, tuple)):
        if isinstance(item, sort):
            return sort
    return object


def are_like_records(node: Any) -> bool:
    """Whether all items are containers of one type with the same fields or length."""
    shapes = set()
    for item in node:
        fields = fields_of(item)
        if fields is not None:
            shapes.add((type(item), *fields))
        elif is_sequence(item):
            shapes.add((type(item), len(item)))
        else:
            return False
    return len(shapes) == 1
