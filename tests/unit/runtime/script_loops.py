"""Training loops as scripts have them, run in this process under discovery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

SAMPLES, BATCH, FEATURES, CLASSES = 960, 16, 8, 4


@dataclass
class Seen:
    """What the script's loop got."""

    batches: int = 0
    samples: int = 0
    lengths: list[int] = field(default_factory=list)

    def note(self, tensor: Tensor) -> None:
        self.batches += 1
        self.samples += len(tensor)


def data(samples: int = SAMPLES) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(samples, FEATURES, generator=generator)
    return TensorDataset(x, x[:, :CLASSES].argmax(1))


def loader(**kwargs: Any) -> DataLoader[Any]:
    return DataLoader(data(), **{"batch_size": BATCH, "shuffle": True, **kwargs})


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, 16), nn.ReLU(), nn.Linear(16, CLASSES))


def fit(
    batches: Any,
    loss_of: Callable[[nn.Module, Any], Tensor],
    model: nn.Module | None = None,
    epochs: int = 1,
) -> Seen:
    """The loop that most scripts have."""
    model = net() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = Seen()
    for _ in range(epochs):
        for batch in batches:
            seen.note(batch[0] if isinstance(batch, list | tuple) else next(iter(batch.values())))
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            optimizer.step()
    return seen


def cross_entropy(model: nn.Module, batch: Any) -> Tensor:
    x, y = batch
    return F.cross_entropy(model(x), y)


# Ways to a loss that are followed and verified. Half of the samples are then given.
VERIFIED: dict[str, Callable[[nn.Module, Any], Tensor]] = {
    "functional": cross_entropy,
    "module": lambda m, b: nn.CrossEntropyLoss()(m(b[0]), b[1]),
    "class weights": lambda m, b: F.cross_entropy(
        m(b[0]), b[1], weight=torch.tensor([1.0, 2.0, 3.0, 4.0])
    ),
    "label smoothing": lambda m, b: F.cross_entropy(m(b[0]), b[1], label_smoothing=0.1),
    "sum": lambda m, b: F.cross_entropy(m(b[0]), b[1], reduction="sum") / 16,
    "own mean": lambda m, b: F.cross_entropy(m(b[0]), b[1], reduction="none").mean(),
    "torch.mean": lambda m, b: torch.mean(F.cross_entropy(m(b[0]), b[1], reduction="none")),
    "weighted by hand": lambda m, b: (
        F.cross_entropy(m(b[0]), b[1], reduction="none") * (1 + b[1].float())
    ).mean(),
    "sum over size": lambda m, b: (
        F.cross_entropy(m(b[0]), b[1], reduction="none").sum() / b[0].size(0)
    ),
    "nll": lambda m, b: F.nll_loss(F.log_softmax(m(b[0]), dim=1), b[1]),
    "soft labels": lambda m, b: F.cross_entropy(m(b[0]), F.one_hot(b[1], CLASSES).float()),
    "one hot mse": lambda m, b: F.mse_loss(m(b[0]), F.one_hot(b[1], CLASSES).float()),
    "l1": lambda m, b: F.l1_loss(m(b[0]), F.one_hot(b[1], CLASSES).float()),
    "smooth l1": lambda m, b: F.smooth_l1_loss(m(b[0]), F.one_hot(b[1], CLASSES).float()),
    "bce": lambda m, b: F.binary_cross_entropy(
        torch.sigmoid(m(b[0])), F.one_hot(b[1], CLASSES).float()
    ),
    "bce with logits": lambda m, b: F.binary_cross_entropy_with_logits(
        m(b[0]), F.one_hot(b[1], CLASSES).float()
    ),
    "kl": lambda m, b: F.kl_div(
        F.log_softmax(m(b[0]), 1), F.one_hot(b[1], CLASSES).float(), reduction="batchmean"
    ),
    "huber": lambda m, b: F.huber_loss(m(b[0]), F.one_hot(b[1], CLASSES).float()),
    "two terms": lambda m, b: (
        F.cross_entropy(m(b[0]), b[1]) + 0.3 * F.mse_loss(m(b[0]), F.one_hot(b[1], CLASSES).float())
    ),
    "stacked terms": lambda m, b: torch.stack(
        [F.cross_entropy(m(b[0]), b[1]), (m(b[0]) ** 2).mean()]
    ).sum(),
    "normalised in place": lambda m, b: F.cross_entropy(m(b[0].clone().sub_(0.1).div_(2.0)), b[1]),
    "batch size in a shape": lambda m, b: F.cross_entropy(
        m(b[0].reshape(b[0].size(0), -1)).view(b[0].shape[0], -1), b[1]
    ),
    "masked labels": lambda m, b: F.cross_entropy(
        m(b[0]), torch.where(b[1] == 3, torch.tensor(-100), b[1])
    ),
    "double": lambda m, b: F.cross_entropy(m(b[0].double().float()).double(), b[1]),
    "noise from the batch": lambda m, b: F.cross_entropy(m(b[0] + torch.randn_like(b[0])), b[1]),
    "tuple assignment": lambda m, b: F.cross_entropy(input=m(b[0]), target=b[1]),
}
