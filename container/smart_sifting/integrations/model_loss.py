"""The per-sample loss of a model that computes its own loss, as Hugging Face models do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from smart_sifting.errors import LossImplementationNotProvidedException
from smart_sifting.loss.abstract_sift_loss_module import Loss

MEND = (
    "hand enable_sifting(..., loss=...) an object of a class derived from "
    "smart_sifting.loss.abstract_sift_loss_module.Loss"
)
IGNORED = -100
"""The label of a token that has no loss."""

Rule = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From logits and labels to n losses and to the mean that the model itself would report."""


class ModelLoss(Loss):
    """One loss a sample from the ``logits`` that a model returns and the ``labels`` it was given.

    Knows cross entropy of classes ([n, C] and [n]) and of tokens ([n, t, C] and [n, t], where -100
    has no loss, next-token shift or none), binary cross entropy and mean squared error. Which of
    them it is, the model's own ``loss`` decides: the one that agrees with it. If none does,
    ``LossImplementationNotProvidedException`` is raised.
    """

    def __init__(self) -> None:
        self._rule: Rule | None = None

    def loss(
        self, model: torch.nn.Module, transformed_batch: Any, original_batch: Any = None
    ) -> Tensor:
        """The n losses of a mapping of arguments for ``model``, ``labels`` among them."""
        batch = _on_device_of(
            model, transformed_batch if original_batch is None else original_batch
        )
        outputs = model(**batch)
        name = type(model).__name__
        if not isinstance(outputs, Mapping) or not {"loss", "logits"} <= set(outputs):
            raise LossImplementationNotProvidedException(
                f"{name} returned no loss and logits by name; {MEND}"
            )
        logits, labels = outputs["logits"].float(), batch["labels"]
        if self._rule is not None:
            return self._rule(logits, labels)[0]
        return self._decide(name, logits, labels, outputs["loss"].detach().float())

    def _decide(self, name: str, logits: Tensor, labels: Tensor, own: Tensor) -> Tensor:
        known = {rule: rule(logits, labels) for rule in _rules_for(logits, labels)}
        if known and not bool(own.isfinite().all()):
            return next(iter(known.values()))[0]  # nothing to compare with: ask the next batch
        gaps = {
            rule: float((mean.detach() - own).abs().max())
            for rule, (_, mean) in known.items()
            if torch.allclose(mean, own, rtol=1e-3, atol=1e-5)
        }
        if not gaps:
            shapes = f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)}"
            raise LossImplementationNotProvidedException(
                f"the loss of {name} is none that is known for {shapes}; {MEND}"
            )
        closest = min(gaps, key=lambda rule: gaps[rule])
        if len(gaps) == 1:
            self._rule = closest  # certain from now on; else the next batch may tell them apart
        return known[closest][0]


def _on_device_of(model: torch.nn.Module, batch: Any) -> dict[str, Any]:
    if not isinstance(batch, Mapping) or "labels" not in batch:
        raise LossImplementationNotProvidedException(
            f"a batch of type {type(batch).__name__} has no labels by name; {MEND}"
        )
    parameter = next(model.parameters(), None)
    if parameter is None:
        return dict(batch)
    return {
        key: value.to(parameter.device) if isinstance(value, Tensor) else value
        for key, value in batch.items()
    }


def _rules_for(logits: Tensor, labels: Tensor) -> list[Rule]:
    """The losses whose shapes fit."""
    if labels.is_floating_point():
        if logits.numel() != labels.numel() or logits.ndim == 0:
            return []
        return [_squared_error, _binary_cross_entropy]
    if logits.ndim == 2 and labels.ndim == 1 and len(logits) == len(labels):
        return [_classes]
    if logits.ndim == 3 and logits.shape[:2] == labels.shape:
        return [_tokens, _next_tokens]
    return []


def _classes(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    losses = functional.cross_entropy(logits, labels, reduction="none", ignore_index=IGNORED)
    return losses, losses.sum() / (labels != IGNORED).sum()


def _tokens(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    # A batch's mean is over its tokens, a sample's over its own: a long one is not harder for it.
    losses = functional.cross_entropy(
        logits.transpose(1, 2), labels, reduction="none", ignore_index=IGNORED
    )
    counted = (labels != IGNORED).sum(1)
    return losses.sum(1) / counted.clamp(min=1), losses.sum() / counted.sum()


def _next_tokens(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    return _tokens(logits[:, :-1], labels[:, 1:])


def _squared_error(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    losses = (logits.flatten() - labels.flatten()).square().reshape(len(labels), -1).mean(1)
    return losses, losses.mean()


def _binary_cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    losses = functional.binary_cross_entropy_with_logits(
        logits.flatten(), labels.float().flatten(), reduction="none"
    )
    losses = losses.reshape(len(labels), -1).mean(1)
    return losses, losses.mean()
