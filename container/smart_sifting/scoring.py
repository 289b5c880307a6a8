"""One loss for every sample, from a forward pass that leaves no trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from smart_sifting.errors import LossOutputException
from smart_sifting.loss.abstract_sift_loss_module import Loss
from smart_sifting.no_trace import no_trace, unwrapped


@dataclass(frozen=True)
class Scores:
    """What is known of a batch of n samples, on the CPU.

    Attributes:
        losses: (n,), float64.
        labels: (n,) integer class labels, None where there are none to be seen.
    """

    losses: Tensor
    labels: Tensor | None = None


class Scorer(Protocol):
    """Gives each sample of a batch its loss. A new source of scores is one more class like this."""

    @property
    def modules(self) -> Sequence[nn.Module]:
        """The models that it calls; where there are none, scoring cannot be made cheaper."""

    def __call__(
        self, transformed: Any, original: Any, samples: int, *, at_once: bool = False
    ) -> Scores:
        """`at_once`: in a single forward, though it be a larger batch than the script's own."""


class ForwardScorer:
    """Scores with the user's own `Loss` on the model as it is now, in eval mode.

    The module inside a data-parallel wrapper is called, so that no collective runs.
    """

    def __init__(self, loss_impl: Loss, model: nn.Module) -> None:
        self._loss = loss_impl
        self._model = model

    @property
    def modules(self) -> Sequence[nn.Module]:
        return [unwrapped(self._model)]

    def __call__(
        self, transformed: Any, original: Any, samples: int, *, at_once: bool = False
    ) -> Scores:
        model = unwrapped(self._model)
        with no_trace([model]):
            losses = self._loss.loss(model, transformed, original)
        return Scores(
            checked_losses(losses, samples, type(self._loss).__name__),
            integer_labels(transformed, samples),
        )


class EvenScorer:
    """Scores nothing: all losses are equal, so that every sample has the same chance."""

    @property
    def modules(self) -> Sequence[nn.Module]:
        return ()

    def __call__(
        self, transformed: Any, original: Any, samples: int, *, at_once: bool = False
    ) -> Scores:
        equal = torch.zeros(samples, dtype=torch.float64, device="cpu")
        return Scores(equal, integer_labels(transformed, samples))


def checked_losses(losses: object, samples: int, source: str) -> Tensor:
    """`losses` as a float64 CPU tensor of shape (samples,).

    Raises:
        LossOutputException: unless it is a tensor of shape (samples,) or (samples, 1).
    """
    if not isinstance(losses, Tensor):
        raise LossOutputException(
            f"{source}.loss() returned {type(losses).__name__}: "
            f"return a tensor with one loss for each of the {samples} samples"
        )
    if losses.shape not in ((samples,), (samples, 1)):
        raise LossOutputException(
            f"{source}.loss() returned a tensor of shape {tuple(losses.shape)} for {samples} "
            f"samples: return shape ({samples},), for instance with reduction='none'"
        )
    return losses.detach().reshape(samples).to("cpu", torch.float64)


def integer_labels(batch: Any, samples: int) -> Tensor | None:
    """The (n,) integer class labels of a batch, where its shape makes plain which they are."""
    for candidate in _label_candidates(batch):
        if (
            isinstance(candidate, Tensor)
            and candidate.shape == (samples,)
            and candidate.dtype in (torch.int64, torch.int32, torch.int16, torch.uint8)
        ):
            return candidate.detach().cpu()
    return None


def _label_candidates(batch: Any) -> list[Any]:
    if isinstance(batch, Mapping):
        return [batch.get(name) for name in ("labels", "label", "target", "targets", "y")]
    if isinstance(batch, list | tuple) and len(batch) == 2:
        return [batch[1]]
    return [getattr(batch, "labels", None)]
