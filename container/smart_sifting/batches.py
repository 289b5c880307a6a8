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

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from smart_sifting.batch_structure import (
    Reading,
    are_like_records,
    fields_of,
    fits,
    is_array,
    is_nested,
    is_sequence,
    is_shared,
    leaves,
    reading_of,
    rebuild,
    same_sequence,
    sort_of,
)
from smart_sifting.data_model.list_batch import ListBatch
from smart_sifting.errors import UnsupportedDataFormatException

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
    if isinstance(batch, ListBatch) and is_sequence(batch.inputs):
        # Its samples need no search, which would go through every number of nested lists.
        return len(batch.inputs)
    if dim is None:
        rows = _rows_of_plain_tensors(batch)
        return _infer(batch) if rows is None else rows
    if is_array(batch):
        if batch.ndim <= dim:
            raise UnsupportedDataFormatException(
                f"{_unable(batch)}: its shape is {tuple(batch.shape)}, batch_format_index {dim}; "
                "write batch_format_index=0"
            )
        return int(batch.shape[dim])
    if not is_sequence(batch):
        return _infer(batch)
    if dim == 0:
        return len(batch)
    for n in _candidates(batch):
        if all(fits(item, n, shared_ok=True) for item in batch):
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
    if dim == 1 and is_array(batch):
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
    if dim == 1 and is_array(batches[0]):
        return _merge_arrays(batches, 1)
    readings = [_outermost(batch, n, dim) for batch, n in zip(batches, sizes, strict=True)]
    return _merge(batches, sizes, readings)


def tensors(batch: Any) -> list[torch.Tensor]:
    """All tensors in ``batch``, shared ones too, in the order of its structure."""
    return [leaf for leaf in leaves(batch) if isinstance(leaf, torch.Tensor)]


def _rows_of_plain_tensors(batch: Any) -> int | None:
    """The rows of a tensor, or of a dict, list or tuple of nothing but tensors of equal rows."""
    if type(batch) is dict:
        parts: Sequence[Any] = list(batch.values())
    else:
        parts = batch if type(batch) in (list, tuple) else [batch]
    rows = {
        part.shape[0] if isinstance(part, torch.Tensor) and is_array(part) else -1 for part in parts
    }
    if len(rows) != 1:
        return None
    (n,) = rows
    return None if n < 0 else n


def _infer(batch: Any) -> int:
    if not (is_array(batch) or is_sequence(batch) or fields_of(batch) is not None):
        raise UnsupportedDataFormatException(
            f"Batches of type {type(batch)} are not supported by default. To sift them, {MEND}"
        )
    # The rows of an array inside a sample, as of an image's boxes, say nothing about n.
    for n in _rows(batch):
        if fits(batch, n, shared_ok=True) and _has_rows(batch, n):
            return n
    for n in _lengths(batch):
        if fits(batch, n, shared_ok=True):
            if _could_lie_either_way(batch):
                raise _ambiguous(MEND_INDEX)
            return n
    raise _mismatch(batch)


def _candidates(batch: Any) -> list[int]:
    """What n may be, likeliest first: rows of arrays, lengths of inner lists, of outer lists."""
    return [*_rows(batch), *_lengths(batch)]


def _rows(batch: Any) -> list[int]:
    return list(dict.fromkeys(int(leaf.shape[0]) for leaf in leaves(batch) if is_array(leaf)))


def _has_rows(node: Any, n: int, listed: bool = False) -> bool:
    """Whether an array is read row by row where ``node`` is read as n samples."""
    fields = fields_of(node)
    if fields is not None:
        return any(_has_rows(value, n, isinstance(node, ListBatch)) for value in fields.values())
    if is_sequence(node):
        reading = reading_of(node, n, shared_ok=True, listed=listed)
        return reading in ("features", "either") and any(_has_rows(item, n) for item in node)
    return is_array(node)


def _lengths(node: Any, listed: bool = False) -> Iterator[int]:
    fields = fields_of(node)
    if fields is not None:
        for value in fields.values():
            yield from _lengths(value, isinstance(node, ListBatch))
    elif is_sequence(node):
        if not listed:
            for item in node:
                yield from _lengths(item)
        yield len(node)


def _outermost(batch: Any, n: int, dim: int | None) -> Reading | None:
    if not is_sequence(batch):
        return None
    if dim is not None:
        return "samples" if dim == 0 else "features"
    reading = reading_of(batch, n, shared_ok=True)
    return "features" if reading == "either" else reading


def _take(node: Any, n: int, index: torch.Tensor, reading: Reading | None = None) -> Any:
    if is_array(node):
        return _take_array(node, index, 0)
    fields = fields_of(node)
    if fields is not None:
        listed: Reading | None = "samples" if isinstance(node, ListBatch) else None
        return rebuild(node, {key: _take(fields[key], n, index, listed) for key in fields})
    if not is_sequence(node):
        return node
    reading = reading or reading_of(node, n, shared_ok=True)
    if reading == "either" and n > 1:
        raise _ambiguous(MEND)
    if reading == "samples":
        return same_sequence(node, [node[row] for row in index.tolist()])
    return same_sequence(node, [_take(item, n, index) for item in node])


def _take_array(array: Any, index: torch.Tensor, dim: int) -> Any:
    if isinstance(array, torch.Tensor):
        return array.index_select(dim, index.to(array.device))
    return array.take(index.numpy(), axis=dim)


def _merge(
    nodes: Sequence[Any], sizes: Sequence[int], readings: Sequence[Reading | None] | None = None
) -> Any:
    first = nodes[0]
    if all(is_array(node) for node in nodes):
        return _merge_arrays(nodes, 0)
    fields = fields_of(first)
    if fields is not None:
        return _merge_fields(nodes, sizes, fields)
    if all(is_sequence(node) for node in nodes):
        return _merge_sequences(nodes, sizes, readings)
    if all(is_shared(node) and _same_value(first, node) for node in nodes):
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
    others = [fields_of(node) for node in nodes]
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
    return rebuild(nodes[0], {key: _merge(values[key], sizes, listed) for key in fields})


def _merge_sequences(
    nodes: Sequence[Any], sizes: Sequence[int], readings: Sequence[Reading | None] | None
) -> Any:
    if readings is None:
        readings = [reading_of(node, n, True) for node, n in zip(nodes, sizes, strict=True)]
    # One batch that can be read in one way only settles it for all: a batch of a single sample
    # can be read in both, and joining it wrongly would mix samples with features.
    sure = {reading for reading in readings if reading != "either"}
    lengths = {len(node) for node in nodes}
    if not sure and len(lengths) == 1:
        raise _ambiguous(MEND)
    if sure == {"samples"} or not sure:
        return same_sequence(nodes[0], [item for node in nodes for item in node])
    if len(lengths) > 1 or len(sure) > 1:
        raise UnsupportedDataFormatException(
            f"cannot join lists of {min(lengths)} and {max(lengths)} features; {MEND}"
        )
    columns = zip(*nodes, strict=True)
    return same_sequence(nodes[0], [_merge(column, sizes) for column in columns])


def _same_value(one: Any, other: Any) -> bool:
    # NaN is shared with NaN.
    return type(one) is type(other) and bool(one == other or (one != one and other != other))


def _could_lie_either_way(batch: Any) -> bool:
    """A table of values of one sort without arrays: by rows and by columns it looks the same."""
    if not is_sequence(batch) or not are_like_records(batch):
        return False
    if not all(is_sequence(item) and item for item in batch):
        return False
    sorts = {sort_of(value) for item in batch for value in item}
    return len(sorts) == 1 and not any(is_nested(value) or is_array(value) for value in batch[0])


def _beside(array: Any, dim: int) -> tuple[int, ...]:
    shape = tuple(array.shape)
    return shape[:dim] + shape[dim + 1 :]


def _described(node: Any) -> str:
    fields = fields_of(node)
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
    if is_array(part):
        found = f"an array of shape {tuple(part.shape)}"
    elif part is not batch and is_sequence(part):
        found = f"a {type(part).__name__} of {len(part)}"
    else:
        return UnsupportedDataFormatException(f"{_unable(part)}; {MEND}")
    return UnsupportedDataFormatException(
        f"Batch size {sizes[0]} does not match dimension 0 or dimension 1 sizes of {found}; {MEND}"
    )


def _misfit(node: Any, n: int) -> Any:
    """The first part of ``node`` that cannot be read as n samples."""
    fields = fields_of(node)
    parts = list(node) if is_sequence(node) else [] if fields is None else list(fields.values())
    for part in parts:
        if (is_array(part) or is_nested(part)) and not fits(part, n, shared_ok=True):
            return _misfit(part, n)
    if fields is not None:
        return next((part for part in parts if not fits(part, n, shared_ok=True)), node)
    return node


def _check_dim(dim: int | None) -> None:
    if dim not in (None, 0, 1) or isinstance(dim, bool):
        raise UnsupportedDataFormatException(
            f"batch_format_index is {dim!r}; write 0 if each item is a sample, 1 if each item is a "
            "feature, or leave it out"
        )
