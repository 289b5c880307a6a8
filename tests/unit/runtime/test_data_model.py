"""The classes that a user's batch transform and loss are written against."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from smart_sifting.batches import batch_size, merge, take
from smart_sifting.data_model.data_model_interface import SiftingBatch, SiftingBatchTransform
from smart_sifting.data_model.list_batch import ListBatch
from smart_sifting.data_model.tensor_batch import TensorBatch
from smart_sifting.errors import UnsupportedDataFormatException
from smart_sifting.loss.abstract_sift_loss_module import Loss


class StackedLists(SiftingBatchTransform):
    """A dict of two tensors as lists of its rows, and back."""

    def transform(self, batch: Any) -> ListBatch:
        return ListBatch(list(batch["x"]), list(batch["y"]))

    def reverse_transform(self, sifting_batch: ListBatch) -> Any:
        return {"x": stacked(sifting_batch.inputs), "y": stacked(sifting_batch.labels)}


def stacked(rows: Any) -> torch.Tensor:
    return torch.stack(rows) if rows else torch.tensor([])


def test_a_transform_goes_there_and_back_also_for_no_sample() -> None:
    batch = {"x": torch.arange(6).reshape(3, 2), "y": torch.tensor([7, 8, 9])}
    transform = StackedLists()
    there = transform.transform(batch)
    assert there.num_samples == batch_size(there) == 3
    back = transform.reverse_transform(merge([take(there, [2]), take(there, [0, 1])]))
    assert back["x"].tolist() == [[4, 5], [0, 1], [2, 3]]
    assert back["y"].tolist() == [9, 7, 8]
    assert transform.reverse_transform(ListBatch([], []))["x"].tolist() == []


def test_a_sifting_batch_gives_its_inputs_and_labels_in_turn() -> None:
    inputs, labels = torch.zeros(2, 3), torch.ones(2)
    assert [
        part is whole
        for part, whole in zip(TensorBatch(inputs, labels), (inputs, labels), strict=True)
    ] == [True, True]
    assert list(ListBatch([1, 2])) == [[1, 2]]
    assert TensorBatch(inputs, labels).num_samples == 2
    assert isinstance(TensorBatch(inputs), SiftingBatch)


def test_a_list_batch_has_one_label_for_every_input() -> None:
    with pytest.raises(UnsupportedDataFormatException) as caught:
        ListBatch([1, 2, 3], [0])
    assert str(caught.value) == (
        "ListBatch has 3 inputs and 1 labels; give one label for every input, or none at all"
    )


def test_the_interfaces_cannot_be_made_without_their_methods() -> None:
    for interface in (SiftingBatchTransform, Loss):
        with pytest.raises(TypeError, match="abstract"):
            interface()


def test_a_loss_may_leave_out_the_original_batch() -> None:
    class Squares(Loss):
        def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
            return model(transformed_batch.inputs).squeeze(1) ** 2

    double = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(double.weight, 2.0)
    losses = Squares().loss(double, TensorBatch(torch.tensor([[1.0], [3.0]])))
    assert losses.tolist() == [4.0, 36.0]
