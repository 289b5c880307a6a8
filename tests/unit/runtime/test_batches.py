"""Nested batches: their size, some of their samples, several as one."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, tensor
from torch.nn.utils.rnn import pack_sequence

from smart_sifting.batches import batch_size, merge, take, tensors
from smart_sifting.data_model import ListBatch, SiftingBatch, TensorBatch
from smart_sifting.errors import UnsupportedDataFormatException


class Pair(NamedTuple):
    image: Any
    label: Any


@dataclass(frozen=True)
class Frozen:
    image: Any
    label: Any
    size: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", None)


class OnlyAttributes(SiftingBatch):
    def __init__(self, inputs: Any, labels: Any) -> None:
        self.inputs, self.labels, self.extra = inputs, labels, "kept"


X = tensor([[1, 2], [3, 4], [5, 6]])
Y = tensor([10, 20, 30])


def plain(value: Any) -> Any:
    """Everything as lists and dicts, with the types of containers beside them."""
    if isinstance(value, (Tensor, np.ndarray)):
        return (type(value).__name__, value.tolist())
    if isinstance(value, (OnlyAttributes, ListBatch, TensorBatch, Frozen)):
        return (type(value).__name__, {key: plain(each) for key, each in vars(value).items()})
    if isinstance(value, (dict, UserDict, MappingProxyType)):
        return (type(value).__name__, {key: plain(each) for key, each in value.items()})
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, [plain(each) for each in value])
    return value


X20 = tensor([[5, 6], [1, 2]])
Y20 = tensor([30, 10])

BATCHES = [
    pytest.param(X, X20, id="tensor"),
    pytest.param(np.array([[1], [2], [3]]), np.array([[3], [1]]), id="numpy array"),
    pytest.param((X, Y), (X20, Y20), id="tuple"),
    pytest.param([X, Y], [X20, Y20], id="list"),
    pytest.param({"x": X, "y": Y}, {"x": X20, "y": Y20}, id="dict"),
    pytest.param(OrderedDict(x=X, y=Y), OrderedDict(x=X20, y=Y20), id="OrderedDict"),
    pytest.param(UserDict(x=X, y=Y), UserDict(x=X20, y=Y20), id="UserDict"),
    pytest.param(MappingProxyType({"x": X}), MappingProxyType({"x": X20}), id="read-only mapping"),
    pytest.param(Pair(X, Y), Pair(X20, Y20), id="namedtuple"),
    pytest.param(Frozen(X, Y), Frozen(X20, Y20), id="frozen dataclass"),
    pytest.param(TensorBatch(X, Y), TensorBatch(X20, Y20), id="TensorBatch"),
    pytest.param(OnlyAttributes(X, Y), OnlyAttributes(X20, Y20), id="own SiftingBatch"),
    pytest.param(ListBatch(["a", "b", "c"], [1, 2, 3]), ListBatch(["c", "a"], [3, 1]), id="lists"),
    pytest.param(
        ListBatch([[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        ListBatch([[7, 8, 9], [1, 2, 3]]),
        id="ListBatch of as many lists as they are long",
    ),
    pytest.param(((X, X), {"y": [Y, Y]}), ((X20, X20), {"y": [Y20, Y20]}), id="nested"),
    pytest.param((["a", "b", "c"], Y), (["c", "a"], Y20), id="strings beside a tensor"),
    pytest.param((["a", "b", "c"], [1, 2, 3]), (["c", "a"], [3, 1]), id="strings and numbers"),
    pytest.param(["a", "b", "c"], ["c", "a"], id="strings alone"),
    pytest.param(
        {"x": X, "tokens": [[1], [2, 3], []]},
        {"x": X20, "tokens": [[], [1]]},
        id="lists of several lengths",
    ),
    pytest.param(
        {"x": X, "t": 0.5, "name": "a", "scale": tensor(2.0), "none": None, "n": np.float32(1)},
        {"x": X20, "t": 0.5, "name": "a", "scale": tensor(2.0), "none": None, "n": np.float32(1)},
        id="shared values in a dict",
    ),
    pytest.param((X, Y, Y, 0.25), (X20, Y20, Y20, 0.25), id="a shared number in a tuple"),
    pytest.param(
        (
            [torch.zeros(1, 4), torch.zeros(1, 5), torch.zeros(1, 6)],
            [{"boxes": torch.zeros(k, 4)} for k in (2, 1, 0)],
        ),
        (
            [torch.zeros(1, 6), torch.zeros(1, 4)],
            [{"boxes": torch.zeros(k, 4)} for k in (0, 2)],
        ),
        id="images of several sizes with their boxes",
    ),
    pytest.param(
        [(torch.zeros(2, 4), 5), (torch.ones(2, 4), 6), (torch.zeros(2, 4), 7)],
        [(torch.zeros(2, 4), 7), (torch.zeros(2, 4), 5)],
        id="a list of samples",
    ),
    pytest.param(
        [{"x": torch.zeros(2), "id": 1}, {"x": torch.ones(2), "id": 2}, {"x": X[0], "id": 3}],
        [{"x": X[0], "id": 3}, {"x": torch.zeros(2), "id": 1}],
        id="a list of dicts, one a sample",
    ),
]


@pytest.mark.parametrize(("batch", "expected"), BATCHES)
def test_take_gives_the_rows_in_their_order_in_the_same_structure(
    batch: Any, expected: Any
) -> None:
    before = plain(batch)
    assert batch_size(batch) == 3
    assert plain(take(batch, [2, 0])) == plain(expected)
    assert batch_size(take(batch, [2, 0])) == 2
    assert plain(batch) == before


@pytest.mark.parametrize(("batch", "expected"), BATCHES)
def test_merge_joins_what_take_took_apart(batch: Any, expected: Any) -> None:
    joined = merge([take(batch, [2, 0]), take(batch, [1, 2, 0, 1])])
    assert plain(take(joined, [4, 2, 0])) == plain(batch)
    assert batch_size(joined) == 6


def test_merge_has_the_samples_in_order() -> None:
    joined = merge([(X, ["a", "b", "c"]), (X20, ["d", "e"])])
    assert plain(joined) == (
        "tuple",
        [
            ("Tensor", [[1, 2], [3, 4], [5, 6], [5, 6], [1, 2]]),
            ("list", ["a", "b", "c", "d", "e"]),
        ],
    )


def test_all_rows_give_the_very_batch() -> None:
    batch = (X, Y)
    assert take(batch, [0, 1, 2]) is batch
    assert merge([batch]) is batch


def test_as_many_rows_in_another_order_or_again_are_what_was_asked_for() -> None:
    assert take((X, Y), [2, 1, 0])[1].tolist() == [30, 20, 10]
    assert take((X, Y), [1, 1, 1])[1].tolist() == [20, 20, 20]


def test_no_rows_give_an_empty_batch_that_can_be_merged() -> None:
    empty = take((X, ["a", "b", "c"]), [])
    assert plain(empty) == ("tuple", [("Tensor", []), ("list", [])])
    assert empty[0].shape == (0, 2)
    assert plain(merge([take((X, Y), []), (X, Y)])) == plain((X, Y))
    assert batch_size(ListBatch([], [])) == 0
    assert take(ListBatch([]), []).inputs == []


def test_a_row_that_is_not_there_is_an_error() -> None:
    for rows in ([3], [-1]):
        with pytest.raises(IndexError, match="of a batch with 3 samples"):
            take((X, Y), rows)


@pytest.mark.parametrize("n", [1, 2])
def test_two_tensors_of_two_rows_are_features_not_samples(n: int) -> None:
    batch = (X[:n], X[:n] + 1)
    assert batch_size(batch) == n
    assert plain(take(batch, [n - 1])) == plain((X[n - 1 : n], X[n - 1 : n] + 1))
    assert plain(merge([batch, batch])) == plain(
        (torch.cat([X[:n], X[:n]]), torch.cat([X[:n], X[:n]]) + 1)
    )


def test_the_format_index_settles_a_table_of_values() -> None:
    table = [["q", "r"], ["s", "t"], ["u", "v"]]
    assert batch_size(table, 0) == 3
    assert take(table, [2, 0], 0) == [["u", "v"], ["q", "r"]]
    assert merge([table, table[:1]], 0) == [*table, ["q", "r"]]
    assert batch_size(table, 1) == 2
    assert take(table, [1], 1) == [["r"], ["t"], ["v"]]
    assert merge([table, [["1"], ["2"], ["3"]]], 1) == [
        ["q", "r", "1"],
        ["s", "t", "2"],
        ["u", "v", "3"],
    ]


def test_the_format_index_says_which_dimension_of_a_tensor_holds_the_samples() -> None:
    assert batch_size(X, 1) == 2
    assert plain(take(X, [1], 1)) == ("Tensor", [[2], [4], [6]])
    assert merge([X, X], 1).shape == (3, 4)
    assert batch_size((X, Y), 1) == 3
    assert plain(take((X, Y), [2, 0], 1)) == plain((X20, Y20))
    assert batch_size((X[:2], Y[:2]), 0) == 2
    assert plain(take((X[:2], Y[:2]), [1], 0)) == plain((Y[:2],))
    assert batch_size({"x": X}, 1) == 3


def test_a_sample_that_was_left_alone_is_joined_as_its_fellows_are() -> None:
    grey = {"x": [torch.zeros(1, 4, 4)] * 3, "y": Y}
    alone = take(grey, [1])
    joined = merge([alone, grey])
    assert [each.shape for each in joined["x"]] == [(1, 4, 4)] * 4
    assert batch_size(joined) == 4


def test_tensors_are_all_tensors_in_order() -> None:
    scale = tensor(2.0)
    found = tensors({"a": (X, ["s"]), "scale": scale, "b": TensorBatch(Y)})
    assert [each is other for each, other in zip(found, [X, scale, Y], strict=True)] == [True] * 3


TRANSFORM = "give the SiftingDataloader a SiftingBatchTransform as batch_transforms"
INDEX = (
    "give the SiftingDataloader batch_format_index=0 if each item is a sample, "
    "1 if each item is a feature"
)
MISMATCH = "does not match dimension 0 or dimension 1 sizes of"


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (5, "Batches of type <class 'int'> are not supported by default. To sift them, "),
        ("text", "Batches of type <class 'str'> are not supported by default. To sift them, "),
        ({1}, "Batches of type <class 'set'> are not supported by default. To sift them, "),
        (tensor(1.0), "Batches of type <class 'torch.Tensor'> are not supported by default. To "),
        ({}, f"Unable to index the batch of type <class 'dict'>; {TRANSFORM}"),
        ({"a": 1}, f"Unable to index the batch of type <class 'dict'>; {TRANSFORM}"),
        ({"x": X, "o": {1}}, f"Unable to index the batch of type <class 'set'>; {TRANSFORM}"),
        (
            (X, Y[:2]),
            f"Batch size 3 {MISMATCH} an array of shape (2,); {TRANSFORM}",
        ),
        (
            {"x": X, "deep": {"names": ["a", "b"]}},
            f"Batch size 3 {MISMATCH} a list of 2; {TRANSFORM}",
        ),
        (
            [["a", "b"], ["c", "d"], ["e", "f"]],
            f"Both dimension 0 and dimension 1 match batch size; {INDEX}",
        ),
        ([[1, 2], [3, 4]], f"Both dimension 0 and dimension 1 match batch size; {INDEX}"),
        (
            pack_sequence([tensor([1, 2]), tensor([3])]),
            "Batches of type <class 'torch.nn.utils.rnn.PackedSequence'> are not supported",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_batch_that_cannot_be_read_names_what_and_the_mend(batch: Any, message: str) -> None:
    with pytest.raises(UnsupportedDataFormatException) as caught:
        batch_size(batch)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert "batch_transforms" in str(caught.value) or "batch_format_index" in str(caught.value)


def test_a_list_inside_that_reads_both_ways_is_refused() -> None:
    square = {"x": [torch.zeros(3, 4)] * 3, "y": Y}
    with pytest.raises(UnsupportedDataFormatException) as caught:
        take(square, [0])
    assert str(caught.value) == (f"Both dimension 0 and dimension 1 match batch size; {TRANSFORM}")


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (
            (X, Y),
            (torch.zeros(2, 5), Y[:2]),
            "cannot join arrays of shapes (3, 2) and (2, 5); pad them to one shape, or ",
        ),
        (X, X.numpy(), "cannot join arrays of shapes (3, 2) and (3, 2); "),
        ({"x": X}, {"z": X}, "cannot join a batch of dict with x and one of dict with z; "),
        (
            {"x": X, "t": 0.5},
            {"x": X, "t": 0.7},
            "batches share the value 0.5 and differ in it; give every sample its own, or ",
        ),
        (
            {"x": X, "t": None},
            {"x": X, "t": 1},
            "batches share the value None and differ in it; give every sample its own, or ",
        ),
        ((X, X), (X, X, X), "cannot join lists of 2 and 3 features; "),
        (X, (X,), "batches share the value"),
    ],
)
def test_batches_that_cannot_be_joined_say_why(one: Any, other: Any, message: str) -> None:
    with pytest.raises(UnsupportedDataFormatException) as caught:
        merge([one, other])
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith(TRANSFORM)
    assert "\n" not in str(caught.value)


def test_shared_values_that_are_equal_are_joined() -> None:
    one = {"x": X, "t": float("nan"), "s": tensor(2.0)}
    assert plain(merge([one, {**one, "x": X20}])["s"]) == ("Tensor", 2.0)


def test_nothing_to_merge_and_a_wrong_format_index_are_errors() -> None:
    with pytest.raises(UnsupportedDataFormatException, match="no batches to merge"):
        merge([])
    for wrong in (2, -1, True, "0"):
        with pytest.raises(UnsupportedDataFormatException, match="batch_format_index is"):
            batch_size((X, Y), wrong)
    with pytest.raises(UnsupportedDataFormatException, match="write batch_format_index=0"):
        batch_size(Y, 1)
