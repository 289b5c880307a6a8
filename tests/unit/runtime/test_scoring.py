"""One loss for every sample, or an error that says what the user's `Loss` got wrong."""

from __future__ import annotations

import random
from collections import UserDict
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn, tensor
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from smart_sifting.data_model import ListBatch, TensorBatch
from smart_sifting.errors import LossOutputException
from smart_sifting.loss import Loss
from smart_sifting.scoring import ForwardScorer, checked_losses, integer_labels


class Gives(Loss):
    """Returns what it was made with, and remembers what it was called with."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.calls: list[tuple[Any, Any, Any, bool, bool]] = []

    def loss(self, model, transformed_batch, original_batch=None):
        state = (model.training, torch.is_grad_enabled())
        self.calls.append((model, transformed_batch, original_batch, *state))
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


class CrossEntropy(Loss):
    def loss(self, model, transformed_batch, original_batch=None):
        inputs, labels = original_batch
        return cross_entropy(model(inputs), labels, reduction="none")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int64])
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_losses_come_as_one_float64_for_each_sample(shape, dtype):
    losses = checked_losses(tensor([1, 2, 3], dtype=dtype).reshape(shape), 3, "MyLoss")
    assert losses.dtype == torch.float64
    assert losses.tolist() == [1.0, 2.0, 3.0]


def test_losses_do_not_hold_on_to_the_graph():
    weight = nn.Parameter(torch.ones(3))
    assert not checked_losses(weight * 2, 3, "MyLoss").requires_grad


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (
            tensor(0.5),
            "MyLoss.loss() returned a tensor of shape () for 3 samples: return shape (3,), "
            "for instance with reduction='none'",
        ),
        (
            torch.ones(4),
            "MyLoss.loss() returned a tensor of shape (4,) for 3 samples: return shape (3,), "
            "for instance with reduction='none'",
        ),
        (
            torch.ones(3, 2),
            "MyLoss.loss() returned a tensor of shape (3, 2) for 3 samples: return shape (3,), "
            "for instance with reduction='none'",
        ),
        (
            torch.ones(1, 3),
            "MyLoss.loss() returned a tensor of shape (1, 3) for 3 samples: return shape (3,), "
            "for instance with reduction='none'",
        ),
        (
            [1.0, 2.0, 3.0],
            "MyLoss.loss() returned list: return a tensor with one loss for each of the 3 samples",
        ),
        (
            None,
            "MyLoss.loss() returned NoneType: "
            "return a tensor with one loss for each of the 3 samples",
        ),
    ],
)
def test_anything_else_is_refused_with_what_to_return(result, message):
    with pytest.raises(LossOutputException) as refused:
        checked_losses(result, 3, "MyLoss")
    assert str(refused.value) == message


def test_a_scalar_is_refused_for_a_single_sample_too():
    with pytest.raises(LossOutputException):
        checked_losses(tensor(0.5), 1, "MyLoss")


def test_the_users_loss_gets_the_model_in_evaluation_mode_and_both_batches():
    model, loss = nn.Linear(2, 2), Gives(torch.ones(3))
    ForwardScorer(loss, model)("transformed", "original", 3)
    assert loss.calls == [(model, "transformed", "original", False, False)]
    assert model.training


def test_an_exception_in_the_users_loss_is_the_users_and_leaves_no_trace():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    model[1].eval()
    flags = [module.training for module in model.modules()]
    states = torch.get_rng_state(), random.getstate()
    with pytest.raises(KeyError, match="no such column"):
        ForwardScorer(Gives(KeyError("no such column")), model)(None, None, 3)
    assert [module.training for module in model.modules()] == flags
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]


def test_the_model_is_scored_as_it_is_now_also_in_another_precision():
    model = nn.Linear(2, 2)
    scorer = ForwardScorer(CrossEntropy(), model)
    model.to(torch.bfloat16)
    model.weight.data.zero_()
    model.bias.data.zero_()
    batch = (torch.ones(3, 2, dtype=torch.bfloat16), tensor([0, 1, 0]))
    assert scorer(batch, batch, 3).losses.tolist() == pytest.approx([0.6931] * 3, abs=0.005)


def test_the_module_inside_a_data_parallel_wrapper_is_scored(tmp_path: Path):
    dist.init_process_group("gloo", f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = nn.Linear(2, 2)
        wrapper, loss = DistributedDataParallel(model), Gives(torch.ones(1))
        ForwardScorer(loss, wrapper)(None, None, 1)
    finally:
        dist.destroy_process_group()
    assert loss.calls[0][0] is model


LABELS = tensor([4, 0, 2])


@pytest.mark.parametrize(
    "batch",
    [
        (torch.ones(3, 2), LABELS),
        [torch.ones(3, 2), LABELS],
        {"x": torch.ones(3, 2), "labels": LABELS},
        {"x": torch.ones(3, 2), "target": LABELS},
        UserDict(x=torch.ones(3, 2), y=LABELS),
        TensorBatch(torch.ones(3, 2), LABELS),
        (torch.ones(3, 2), LABELS.to(torch.uint8)),
    ],
    ids=["tuple", "list", "dict", "target", "UserDict", "TensorBatch", "uint8"],
)
def test_class_labels_are_seen_where_the_batch_makes_them_plain(batch):
    found = integer_labels(batch, 3)
    assert isinstance(found, Tensor)
    assert found.tolist() == [4, 0, 2]


@pytest.mark.parametrize(
    "batch",
    [
        torch.ones(3, 2),
        (torch.ones(3, 2), torch.ones(3)),
        (torch.ones(3, 2), torch.ones(3, 4, dtype=torch.int64)),
        (torch.ones(3, 2), LABELS, LABELS),
        {"x": LABELS},
        {"labels": torch.ones(3)},
        ListBatch(["a", "b", "c"], [4, 0, 2]),
        ListBatch(["a", "b", "c"]),
    ],
    ids=["tensor", "floats", "table", "three", "no name", "floats by name", "lists", "none"],
)
def test_what_may_be_something_else_is_no_class_label(batch):
    assert integer_labels(batch, 3) is None


def test_scores_hold_losses_and_labels():
    model = nn.Linear(2, 2)
    model.weight.data.zero_()
    model.bias.data.zero_()
    batch = (torch.ones(3, 2), tensor([1, 0, 1]))
    scores = ForwardScorer(CrossEntropy(), model)(batch, batch, 3)
    assert scores.losses.tolist() == pytest.approx([0.693147] * 3)
    assert scores.labels is not None
    assert scores.labels.tolist() == [1, 0, 1]
