"""Where a scalar loss comes from one loss per sample, and how to get those back.

A *reduction* is a call whose result is one number made of many: a functional loss with
`reduction="mean"` or `"sum"`, or a plain `mean()`/`sum()` over everything. Called again without
its reduction it gives the elements that the number was made of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

FUNCTIONAL_LOSSES: frozenset[Callable[..., Any]] = frozenset(
    {
        F.binary_cross_entropy,
        F.binary_cross_entropy_with_logits,
        F.cross_entropy,
        F.gaussian_nll_loss,
        F.huber_loss,
        F.kl_div,
        F.l1_loss,
        F.mse_loss,
        F.multi_margin_loss,
        F.multilabel_soft_margin_loss,
        F.nll_loss,
        F.poisson_nll_loss,
        F.smooth_l1_loss,
        F.soft_margin_loss,
    }
)
CLASS_LOSSES: frozenset[Callable[..., Any]] = frozenset({F.cross_entropy, F.nll_loss})
# Where a wrapper of ours around one of torch's functions says what it stands for.
ORIGINAL = "smart_sifting_original"
MEANS = frozenset({torch.mean, Tensor.mean})
SUMS = frozenset({torch.sum, Tensor.sum})


def original(func: Callable[..., Any]) -> Callable[..., Any]:
    """torch's own function, where `func` is a wrapper of ours: torch looks methods up by name."""
    plain: Callable[..., Any] = getattr(func, ORIGINAL, func)
    return plain


def is_reduction(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether this call makes one number of the elements of a tensor."""
    if func in FUNCTIONAL_LOSSES:
        return bool(kwargs.get("reduction", "mean") != "none")
    if func not in MEANS and func not in SUMS:
        return False
    whole = len(args) == 1 and set(kwargs) <= {"dtype"}
    return whole and isinstance(args[0], Tensor) and args[0].dim() > 0


@dataclass(frozen=True)
class Elements:
    """What a reduction was made of.

    Attributes:
        values: the elements, of any shape.
        valid: same shape, False where an element does not count (`ignore_index`); None: all count.
        labels: the integer class labels, where the loss has them.
        reduction: "mean", "sum" or "batchmean".
        divisor: what a mean divides by, if not the number of elements that count.
    """

    values: Tensor
    valid: Tensor | None = None
    labels: Tensor | None = None
    reduction: str = "mean"
    divisor: Tensor | None = None


def elements_of(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Elements:
    """The elements of a reduction, by calling it without its reduction."""
    if func in MEANS or func in SUMS:
        return Elements(args[0], reduction="mean" if func in MEANS else "sum")
    open_kwargs = {k: v for k, v in kwargs.items() if k not in ("size_average", "reduce")}
    values = func(*args, **{**open_kwargs, "reduction": "none"})
    reduction = kwargs.get("reduction", "mean")
    if func not in CLASS_LOSSES or args[1].is_floating_point():
        return Elements(values, reduction=reduction)
    labels, class_weights = args[1], kwargs.get("weight")
    valid = labels != kwargs.get("ignore_index", -100)
    divisor = None if class_weights is None else class_weights[labels[valid]].sum()
    return Elements(values, valid, labels, reduction, divisor)


def reduced(elements: Elements, rows: int) -> float | None:
    """The number that the elements stand for; None if they are not those of `rows` samples."""
    values = elements.values
    if by_rows(values, rows, True) is None:
        return None
    total = float(values.double().sum())
    if elements.reduction == "sum":
        return total
    if elements.reduction == "batchmean":
        return total / rows
    if elements.divisor is not None:
        return total / float(elements.divisor)
    count = values.numel() if elements.valid is None else int(elements.valid.sum())
    return total / max(1, count)


def row_losses(elements: Elements, rows: int, *, batch_first: bool = True) -> Tensor | None:
    """One loss for each of `rows` samples, scaled so that their mean is the reduced loss.

    (With ignored elements it is a sample's mean over those that count.) None if the elements
    cannot be told apart by sample.
    """
    values = by_rows(elements.values, rows, batch_first)
    if values is None:
        return None
    if elements.reduction == "sum":
        return values.sum(1) * rows
    if elements.reduction == "batchmean":
        return values.sum(1)
    valid = None if elements.valid is None else by_rows(elements.valid, rows, batch_first)
    if valid is None:
        return values.mean(1)
    return values.sum(1) / valid.sum(1).clamp_min(1)


def by_rows(values: Tensor, rows: int, batch_first: bool) -> Tensor | None:
    """`values` as (rows, elements of a sample): given as (rows, ...), or with rows flattened in."""
    count = values.numel()
    if rows == 0 or count == 0 or count % rows:
        return None
    if batch_first:
        return values.reshape(rows, -1)
    return values.reshape(-1, rows).t()
