"""Samples in nested batches: how many there are, some of them, several batches as one.

A batch of n samples is read by its structure:

* a tensor or numpy array of n rows holds one sample a row;
* a mapping, dataclass, namedtuple or ``SiftingBatch`` is a container: each field is read alike;
* a list or tuple is a **container** if its items are read as n samples each (two tensors of n
  rows), and otherwise a **leaf** if it has n items of one kind (n strings, n dicts, n images).
  ``ListBatch`` holds leaves;
* None, a number, a string or a 0-d array beside them is shared by all samples and stays as it is.

n is what makes the whole batch consistent: the rows of an array first, then the length of a leaf.
The list that a batch is made of counts as a container where both readings fit, as for two tensors
of two rows; a list inside a batch is refused then. ``dim`` is AWS's ``batch_format_index`` and
settles the outermost list or array: 0, its items are samples; 1, its items are features, with the
samples on the next dimension.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Literal

import torch
from torch.nn.utils.rnn import PackedSequence

from smart_sifting.data_model.data_model_interface import SiftingBatch
from smart_sifting.data_model.list_batch import ListBatch
from smart_sifting.errors import UnsupportedDataFormatException

Reading = Literal["features", "samples", "either"]

MEND = "give the SiftingDataloader a SiftingBatchTransform as batch_transforms"
MEND_INDEX = (
    "give the SiftingDataloader batch_format_index=0 if each item is a sample, 1 if each item is "
    "a feature"
)


def batch_size(batch: Any, dim: int | None = None) -> int:
    """How many samples ``batch`` holds.

    Raises ``UnsupportedDataFormatException`` if its structure does not tell.
    """
    _check_dim(dim)
    if dim is None:
        rows = _rows_of_plain_tensors(batch)
        return _infer(batch) if rows is None else rows
    if _is_array(batch):
        if batch.ndim <= dim:
            raise UnsupportedDataFormatException(
                f"{_unable(batch)}: its shape is {tuple(batch.shape)}, batch_format_index {dim}; "
                "write batch_format_index=0"
            )
        return int(batch.shape[dim])
    if not _is_sequence(batch):
        return _infer(batch)
    if dim == 0:
        return len(batch)
    for n in _candidates(list(batch)):
        if all(_fits(item, n, shared_ok=True) for item in batch):
            return n
    raise _mismatch(batch)


def take(batch: Any, rows: Sequence[int], dim: int | None = None) -> Any:
    """A batch of the same structure with the samples ``rows`` (0 to n - 1), in that order.

    The batch itself where that is all of it. Raises ``UnsupportedDataFormatException`` as
    ``batch_size`` does, ``IndexError`` for a row that is not there.
    """
    n = batch_size(batch, dim)
    rows = list(rows)
    if rows == list(range(n)):
        return batch
    if rows and (min(rows) < 0 or max(rows) >= n):
        raise IndexError(f"rows {min(rows)} to {max(rows)} of a batch with {n} samples")
    index = torch.tensor(rows, dtype=torch.int64)
    if dim == 1 and _is_array(batch):
        return _take_array(batch, index, 1)
    return _take(batch, n, index, _outermost(batch, n, dim))


def merge(batches: Sequence[Any], dim: int | None = None) -> Any:
    """One batch of all samples of ``batches``, in order.

    Raises ``UnsupportedDataFormatException`` where the batches differ in structure, in a shape
    beyond their samples, or in a shared value.
    """
    if not batches:
        raise UnsupportedDataFormatException("no batches to merge; give at least one")
    if len(batches) == 1:
        return batches[0]
    sizes = [batch_size(batch, dim) for batch in batches]
    if dim == 1 and _is_array(batches[0]):
        return _merge_arrays(batches, 1)
    readings = [_outermost(batch, n, dim) for batch, n in zip(batches, sizes, strict=True)]
    return _merge(batches, sizes, readings)


def tensors(batch: Any) -> list[torch.Tensor]:
    """All tensors in ``batch``, shared ones too, in the order of its structure."""
    return [leaf for leaf in _leaves(batch) if isinstance(leaf, torch.Tensor)]


def _rows_of_plain_tensors(batch: Any) -> int | None:
    """The rows of a tensor, or of a dict, list or tuple of nothing but tensors of equal rows."""
    if type(batch) is dict:
        leaves: Sequence[Any] = list(batch.values())
    elif type(batch) in (list, tuple):
        leaves = batch
    else:
        leaves = [batch]
    rows = {
        leaf.shape[0] if isinstance(leaf, torch.Tensor) and _is_array(leaf) else -1
        for leaf in leaves
    }
    if len(rows) != 1:
        return None
    (n,) = rows
    return None if n < 0 else n


def _infer(batch: Any) -> int:
    if not (_is_array(batch) or _is_sequence(batch) or _fields(batch) is not None):
        raise UnsupportedDataFormatException(
            f"Batches of type {type(batch)} are not supported by default. To sift them, {MEND}"
        )
    for n in _candidates(batch):
        if _fits(batch, n, shared_ok=True):
            if _could_lie_either_way(batch):
                raise _ambiguous(MEND_INDEX)
            return n
    raise _mismatch(batch)


def _candidates(batch: Any) -> list[int]:
    """What n may be, likeliest first: rows of arrays, lengths of inner lists, of outer lists."""
    rows = [int(leaf.shape[0]) for leaf in _leaves(batch) if _is_array(leaf)]
    return list(dict.fromkeys([*rows, *_lengths(batch)]))


def _lengths(node: Any, listed: bool = False) -> Iterator[int]:
    fields = _fields(node)
    if fields is not None:
        for value in fields.values():
            yield from _lengths(value, isinstance(node, ListBatch))
    elif _is_sequence(node):
        if not listed:
            for item in node:
                yield from _lengths(item)
        yield len(node)


def _fits(node: Any, n: int, shared_ok: bool, listed: bool = False) -> bool:
    """Whether ``node`` can be read as n samples."""
    if _is_array(node):
        return bool(node.shape[0] == n)
    if node is None:
        return True
    fields = _fields(node)
    if fields is not None:
        listed = isinstance(node, ListBatch)
        return all(_fits(value, n, shared_ok, listed) for value in fields.values())
    if _is_sequence(node):
        return _reading(node, n, shared_ok, listed) is not None
    return shared_ok and _is_shared(node)


def _reading(node: Any, n: int, shared_ok: bool, listed: bool = False) -> Reading | None:
    """How a list can be read as n samples."""
    if listed:
        return "samples" if len(node) == n else None
    samples = len(node) == n and len({_sort(item) for item in node if item is not None}) <= 1
    # A number in each of several like records is a sample's own, as in [(image, 3), (image, 5)].
    shared_ok = shared_ok and not _are_like_records(node)
    features = any(_is_array(item) or _is_nested(item) for item in node) and all(
        _fits(item, n, shared_ok) for item in node
    )
    if samples and features:
        return "either"
    if features:
        return "features"
    return "samples" if samples else None


def _outermost(batch: Any, n: int, dim: int | None) -> Reading | None:
    if not _is_sequence(batch):
        return None
    if dim is not None:
        return "samples" if dim == 0 else "features"
    reading = _reading(batch, n, shared_ok=True)
    return "features" if reading == "either" else reading


def _take(node: Any, n: int, index: torch.Tensor, reading: Reading | None = None) -> Any:
    if _is_array(node):
        return _take_array(node, index, 0)
    fields = _fields(node)
    if fields is not None:
        listed: Reading | None = "samples" if isinstance(node, ListBatch) else None
        return _rebuild(node, {key: _take(fields[key], n, index, listed) for key in fields})
    if not _is_sequence(node):
        return node
    reading = reading or _reading(node, n, shared_ok=True)
    if reading == "either" and n > 1:
        raise _ambiguous(MEND)
    if reading == "samples":
        return _same_sequence(node, [node[row] for row in index.tolist()])
    return _same_sequence(node, [_take(item, n, index) for item in node])


def _take_array(array: Any, index: torch.Tensor, dim: int) -> Any:
    if isinstance(array, torch.Tensor):
        return array.index_select(dim, index.to(array.device))
    return array.take(index.numpy(), axis=dim)


def _merge(
    nodes: Sequence[Any], sizes: Sequence[int], readings: Sequence[Reading | None] | None = None
) -> Any:
    first = nodes[0]
    if all(_is_array(node) for node in nodes):
        return _merge_arrays(nodes, 0)
    fields = _fields(first)
    if fields is not None:
        return _merge_fields(nodes, sizes, fields)
    if all(_is_sequence(node) for node in nodes):
        return _merge_sequences(nodes, sizes, readings)
    if all(_is_shared(node) and _same_value(first, node) for node in nodes):
        return first
    raise UnsupportedDataFormatException(
        f"batches share the value {' '.join(repr(first).split()):.60} and differ in it; give every "
        f"sample its own, or {MEND}"
    )


def _merge_arrays(arrays: Sequence[Any], dim: int) -> Any:
    first = arrays[0]
    for array in arrays:
        if type(array) is not type(first) or _beside(array, dim) != _beside(first, dim):
            raise UnsupportedDataFormatException(
                f"cannot join arrays of shapes {tuple(first.shape)} and {tuple(array.shape)}; "
                f"pad them to one shape, or {MEND}"
            )
    if isinstance(first, torch.Tensor):
        return torch.cat(list(arrays), dim)
    return sys.modules["numpy"].concatenate(arrays, axis=dim)


def _merge_fields(nodes: Sequence[Any], sizes: Sequence[int], fields: dict[Any, Any]) -> Any:
    others = [_fields(node) for node in nodes]
    for node, other in zip(nodes, others, strict=True):
        if other is None or list(other) != list(fields) or type(node) is not type(nodes[0]):
            raise UnsupportedDataFormatException(
                f"cannot join a batch of {_described(nodes[0])} and one of {_described(node)}; "
                f"let every batch have the same fields, or {MEND}"
            )
    listed: list[Reading | None] | None = (
        ["samples"] * len(nodes) if isinstance(nodes[0], ListBatch) else None
    )
    values = {key: [other[key] for other in others if other is not None] for key in fields}
    return _rebuild(nodes[0], {key: _merge(values[key], sizes, listed) for key in fields})


def _merge_sequences(
    nodes: Sequence[Any], sizes: Sequence[int], readings: Sequence[Reading | None] | None
) -> Any:
    if readings is None:
        readings = [_reading(node, n, True) for node, n in zip(nodes, sizes, strict=True)]
    # One batch that can be read in one way only settles it for all: a batch of a single sample
    # can be read in both, and joining it wrongly would mix samples with features.
    sure = {reading for reading in readings if reading != "either"}
    lengths = {len(node) for node in nodes}
    if not sure and len(lengths) == 1:
        raise _ambiguous(MEND)
    if sure == {"samples"} or not sure:
        return _same_sequence(nodes[0], [item for node in nodes for item in node])
    if len(lengths) > 1 or len(sure) > 1:
        raise UnsupportedDataFormatException(
            f"cannot join lists of {min(lengths)} and {max(lengths)} features; {MEND}"
        )
    columns = zip(*nodes, strict=True)
    return _same_sequence(nodes[0], [_merge(column, sizes) for column in columns])


def _leaves(node: Any) -> Iterator[Any]:
    fields = _fields(node)
    if fields is not None:
        for value in fields.values():
            yield from _leaves(value)
    elif _is_sequence(node):
        for item in node:
            yield from _leaves(item)
    else:
        yield node


def _fields(node: Any) -> dict[Any, Any] | None:
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


def _rebuild(node: Any, values: dict[Any, Any]) -> Any:
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


def _same_sequence(node: Any, items: list[Any]) -> Any:
    return items if type(node) is list else type(node)(items)


def _is_array(node: Any) -> bool:
    """A tensor or numpy array with a dimension to index."""
    if isinstance(node, torch.Tensor):
        return node.ndim > 0 and not node.is_nested
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(node, numpy.ndarray) and node.ndim > 0


def _is_sequence(node: Any) -> bool:
    return (
        isinstance(node, (list, tuple))
        and not hasattr(node, "_fields")
        and not isinstance(node, PackedSequence)
    )


def _is_nested(node: Any) -> bool:
    return _is_sequence(node) or _fields(node) is not None


def _is_shared(node: Any) -> bool:
    """A value that has no samples in it."""
    if node is None or isinstance(node, (int, float, complex, str, bytes)):
        return True
    numpy = sys.modules.get("numpy")
    return getattr(node, "ndim", None) == 0 and (
        isinstance(node, torch.Tensor)
        or (numpy is not None and isinstance(node, (numpy.ndarray, numpy.generic)))
    )


def _same_value(one: Any, other: Any) -> bool:
    # NaN is shared with NaN.
    return type(one) is type(other) and bool(one == other or (one != one and other != other))


def _sort(item: Any) -> Any:
    """What kind of thing a sample is: the items of a leaf are all of one."""
    if isinstance(item, torch.Tensor) or _is_array(item):
        return ("array", item.ndim)
    for sort in (str, bytes, (int, float, complex), Mapping, (list, tuple)):
        if isinstance(item, sort):
            return sort
    return object


def _are_like_records(node: Any) -> bool:
    shapes = set()
    for item in node:
        fields = _fields(item)
        if fields is not None:
            shapes.add((type(item), *fields))
        elif _is_sequence(item):
            shapes.add((type(item), len(item)))
        else:
            return False
    return len(shapes) == 1


def _could_lie_either_way(batch: Any) -> bool:
    """A table of values of one sort without arrays: by rows and by columns it looks the same."""
    if not _is_sequence(batch) or not _are_like_records(batch):
        return False
    if not all(_is_sequence(item) and item for item in batch):
        return False
    sorts = {_sort(value) for item in batch for value in item}
    return len(sorts) == 1 and not any(_is_nested(value) or _is_array(value) for value in batch[0])


def _beside(array: Any, dim: int) -> tuple[int, ...]:
    shape = tuple(array.shape)
    return shape[:dim] + shape[dim + 1 :]


def _described(node: Any) -> str:
    fields = _fields(node)
    keys = "" if fields is None else f" with {', '.join(map(str, fields))}"
    return f"{type(node).__name__}{keys}"


def _unable(batch: Any) -> str:
    return f"Unable to index the batch of type {type(batch)}"


def _ambiguous(mend: str) -> UnsupportedDataFormatException:
    return UnsupportedDataFormatException(
        f"Both dimension 0 and dimension 1 match batch size; {mend}"
    )


def _mismatch(batch: Any) -> UnsupportedDataFormatException:
    sizes = _candidates(batch)
    part = _misfit(batch, sizes[0]) if sizes else batch
    if _is_array(part):
        found = f"an array of shape {tuple(part.shape)}"
    elif part is not batch and _is_sequence(part):
        found = f"a {type(part).__name__} of {len(part)}"
    else:
        return UnsupportedDataFormatException(f"{_unable(part)}; {MEND}")
    return UnsupportedDataFormatException(
        f"Batch size {sizes[0]} does not match dimension 0 or dimension 1 sizes of {found}; {MEND}"
    )


def _misfit(node: Any, n: int) -> Any:
    """The first part of ``node`` that cannot be read as n samples."""
    fields = _fields(node)
    parts = list(node) if _is_sequence(node) else [] if fields is None else list(fields.values())
    for part in parts:
        if (_is_array(part) or _is_nested(part)) and not _fits(part, n, shared_ok=True):
            return _misfit(part, n)
    if fields is not None:
        return next((part for part in parts if not _fits(part, n, shared_ok=True)), node)
    return node


def _check_dim(dim: int | None) -> None:
    if dim not in (None, 0, 1) or isinstance(dim, bool):
        raise UnsupportedDataFormatException(
            f"batch_format_index is {dim!r}; write 0 if each item is a sample, 1 if each item is a "
            "feature, or leave it out"
        )
