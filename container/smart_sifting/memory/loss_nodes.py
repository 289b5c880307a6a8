"""What autograd saved of a loss for its backward: the loss's elements, and where gradients pass.

A node of the graph that begins a loss's backward is of one *kind*. Most hold what they need to be
computed again element by element (`node._saved_*`, torch 2.13). A plain mean or sum holds nothing:
its elements come from the node below it, or from `means`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from smart_sifting.discovery.per_sample import Elements
from smart_sifting.memory.means import remembered

REDUCTIONS = {1: "mean", 2: "sum"}
MEANS = {"MeanBackward0": "mean", "SumBackward0": "sum"}


@dataclass(frozen=True)
class Passage:
    """A node whose backward gives each element of a loss its gradient.

    Attributes:
        node: of the graph.
        shape: of the elements.
        classes: the gradient has one more dimension than the elements, after the first.
    """

    node: Any
    shape: tuple[int, ...]
    classes: bool = False


@dataclass(frozen=True)
class LossKind:
    """How losses of one kind are recognised, read and weighted.

    Attributes:
        name: for `kind_named`.
        nodes: names of the nodes with which the backward of such a loss begins.
        matches: whether a node of such a name does begin one.
        elements: what the loss is made of, given the node and the number of rows; None: that was
            not kept. To be called without gradients.
        passages: where the gradients of the elements pass, each once.
        saves: whether autograd keeps the elements itself; else `means` has to.
    """

    name: str
    nodes: frozenset[str]
    matches: Callable[[Any], bool]
    elements: Callable[[Any, int], Elements | None]
    passages: Callable[[Any], list[Passage]]
    saves: Callable[[Any], bool] = lambda node: True

    def begins(self, node: Any) -> bool:
        """Whether the backward of such a loss begins with this node."""
        return node.name() in self.nodes and self.matches(node)


def kind_of(node: Any) -> LossKind | None:
    """The kind of loss whose backward begins with this node; None if it is none that we know."""
    candidates = _CANDIDATES.get(node.name(), ())
    return next((kind for kind in candidates if kind.matches(node)), None)


def kind_named(name: str) -> LossKind:
    """The kind of that name.

    Raises:
        KeyError: there is none.
    """
    return {kind.name: kind for kind in _KINDS}[name]


# -- losses that one node computes -----------------------------------------------------------------


def _negative_log_likelihood(node: Any) -> Tensor:
    losses: Tensor = F.nll_loss(
        node._saved_self,
        node._saved_target,
        weight=node._saved_weight,
        ignore_index=_ignore_index(node),
        reduction="none",
    )
    return losses


def _binary_cross_entropy(node: Any) -> Tensor:
    # Not by the functional, which refuses to run where a script calls backward under autocast.
    probability, target = node._saved_self, node._saved_target
    # Logarithms bounded as torch bounds them.
    yes, no = probability.log().clamp_min(-100), (-probability).log1p().clamp_min(-100)
    losses: Tensor = (target - 1) * no - target * yes
    return losses if node._saved_weight is None else losses * node._saved_weight


def _binary_cross_entropy_with_logits(node: Any) -> Tensor:
    return F.binary_cross_entropy_with_logits(
        node._saved_self,
        node._saved_target,
        weight=node._saved_weight,
        pos_weight=node._saved_pos_weight,
        reduction="none",
    )


def _multi_margin(node: Any) -> Tensor:
    return F.multi_margin_loss(
        node._saved_self,
        node._saved_target,
        p=node._saved_p,
        margin=node._saved_margin,
        weight=node._saved_weight,
        reduction="none",
    )


def _mean_square(node: Any) -> Tensor:
    return torch.square(node._saved_self - node._saved_target)


def _smooth_l1(node: Any) -> Tensor:
    return F.smooth_l1_loss(
        node._saved_self, node._saved_target, beta=node._saved_beta, reduction="none"
    )


def _huber(node: Any) -> Tensor:
    return F.huber_loss(
        node._saved_self, node._saved_target, delta=node._saved_delta, reduction="none"
    )


def _soft_margin(node: Any) -> Tensor:
    return F.soft_margin_loss(node._saved_self, node._saved_target, reduction="none")


_WITH_CLASSES: dict[str, Callable[[Any], Tensor]] = {
    "NllLossBackward0": _negative_log_likelihood,
    "NllLoss2DBackward0": _negative_log_likelihood,
    "MultiMarginLossBackward0": _multi_margin,
}
_PLAIN: dict[str, Callable[[Any], Tensor]] = {
    "BinaryCrossEntropyBackward0": _binary_cross_entropy,
    "BinaryCrossEntropyWithLogitsBackward0": _binary_cross_entropy_with_logits,
    "HuberLossBackward0": _huber,
    "MseLossBackward0": _mean_square,
    "SmoothL1LossBackward0": _smooth_l1,
    "SoftMarginLossBackward0": _soft_margin,
}
_LOSSES = _WITH_CLASSES | _PLAIN
_IGNORING = frozenset({"NllLossBackward0", "NllLoss2DBackward0"})


def _one_node(name: str) -> LossKind:
    values_of = _LOSSES[name]

    def matches(node: Any) -> bool:
        return node._saved_reduction in REDUCTIONS

    def elements(node: Any, rows: int) -> Elements:
        reduction = REDUCTIONS[node._saved_reduction]
        valid = _counted(node, rows) if name in _IGNORING else None
        return Elements(values_of(node), valid, reduction=reduction)

    def passages(node: Any) -> list[Passage]:
        classes = name in _WITH_CLASSES
        shape = (node._saved_target if classes else node._saved_self).shape
        return [Passage(node, tuple(shape), classes)]

    return LossKind(name, frozenset({name}), matches, elements, passages)


def _counted(node: Any, rows: int) -> Tensor | None:
    """Which elements are not ignored, where that matters: with one a row, all is said by its 0."""
    target: Tensor = node._saved_target
    return None if target.numel() == rows else target != _ignore_index(node)


def _ignore_index(node: Any) -> int:
    index: int = node._saved_ignore_index
    return index - 2**64 if index >= 2**63 else index  # saved as if it had no sign


# -- cross entropy with label smoothing: (1 - s) * likelihood + s / classes * sum over classes -----


def _is_smoothed(node: Any) -> bool:
    below = _below(node)
    if _names(below) != ["MulBackward1"] * 2:
        return False
    return set(_names(_below(below[0]))) <= _IGNORING and len(_sums_under(below[1])) == 1


def _smoothed_elements(node: Any, rows: int) -> Elements:
    scaled = _below(node)[0]
    likelihood = _below(scaled)[0]
    values = F.cross_entropy(
        likelihood._saved_self,  # log-probabilities: another log_softmax leaves them as they are
        likelihood._saved_target,
        weight=likelihood._saved_weight,
        ignore_index=_ignore_index(likelihood),
        label_smoothing=1.0 - scaled._saved_other,
        reduction="none",
    )
    reduction = REDUCTIONS[likelihood._saved_reduction]
    return Elements(values, _counted(likelihood, rows), reduction=reduction)


def _smoothed_passages(node: Any) -> list[Passage]:
    scaled, rest = _below(node)
    likelihood, sum_ = _below(scaled)[0], _sums_under(rest)[0]
    shape = tuple(likelihood._saved_target.shape)
    return [Passage(likelihood, shape, True), Passage(sum_, tuple(sum_._saved_self_sym_sizes))]


# -- cross entropy with probabilities for labels: -(log_softmax * labels * weights).sum() / rows ---


def _is_soft(node: Any) -> bool:
    return _soft_factors(node) is not None


def _soft_elements(node: Any, rows: int) -> Elements | None:
    factors = _soft_factors(node)
    if factors is None:
        return None
    log_softmax, *others = factors
    values = log_softmax._saved_result
    for factor in others:
        values = values * factor._saved_other
    reduction = "sum" if node.name() == "NegBackward0" else "mean"
    return Elements(-values.sum(log_softmax._saved_dim), reduction=reduction)


def _soft_passages(node: Any) -> list[Passage]:
    (sum_,) = _sums_under(node)
    samples, _, *rest = sum_._saved_self_sym_sizes
    return [Passage(sum_, (samples, *rest), True)]


def _soft_factors(node: Any) -> list[Any] | None:
    """The node of the log-softmax, and those that multiply it by labels and weights."""
    negated = node if node.name() == "NegBackward0" else _only(node)
    if negated is None or negated.name() != "NegBackward0":
        return None
    below = _only(negated)
    if below is None or below.name() != "SumBackward0":
        return None
    factors = []
    below = _below(below)[0]
    while below is not None and below.name() == "MulBackward0":
        factors.append(below)
        below = _below(below)[0]
    if not factors or below is None or below.name() != "LogSoftmaxBackward0":
        return None
    # Dimension 1 holds the classes, unless there is one sample without a dimension of its own.
    return [below, *factors] if below._saved_dim == 1 else None


# -- a plain mean or sum ---------------------------------------------------------------------------

_SAVED_ELEMENTS: dict[str, Callable[[Any], Tensor]] = {
    "AbsBackward0": lambda node: node._saved_self.abs(),
    "PowBackward0": lambda node: node._saved_self.pow(node._saved_exponent),
}


def _mean(name: str, reduction: str) -> LossKind:
    def elements(node: Any, rows: int) -> Elements | None:
        values = _values_under(node)
        return None if values is None else Elements(values, reduction=reduction)

    def passages(node: Any) -> list[Passage]:
        return [Passage(node, tuple(node._saved_self_sym_sizes))]

    return LossKind(name, frozenset({name}), lambda node: True, elements, passages, _is_saved_under)


def _values_under(node: Any) -> Tensor | None:
    """What a mean or a sum was made of, as the node below it saved it or as it was remembered."""
    saved = _saving(_below(node)[0])
    return remembered(node) if saved is None else saved(_below(node)[0])


def _is_saved_under(node: Any) -> bool:
    return _saving(_below(node)[0]) is not None


def _saving(node: Any) -> Callable[[Any], Tensor] | None:
    """How to compute the result of a node from what it saved; None if that is not enough."""
    if node is None:
        return None
    name = node.name()
    if name in _LOSSES:
        return None if node._saved_reduction in REDUCTIONS else _LOSSES[name]
    return _SAVED_ELEMENTS.get(name)


def _is_batch_mean(node: Any) -> bool:
    below = _only(node)
    return below is not None and below.name() == "SumBackward0"


def _batch_mean_elements(node: Any, rows: int) -> Elements | None:
    values = _values_under(_below(node)[0])
    return None if values is None else Elements(values, reduction="batchmean")


def _batch_mean_passages(node: Any) -> list[Passage]:
    sum_ = _below(node)[0]
    return [Passage(sum_, tuple(sum_._saved_self_sym_sizes))]


# -- walking down ----------------------------------------------------------------------------------

_DIVISIONS = frozenset({"DivBackward0", "DivBackward1"})


def _below(node: Any) -> list[Any]:
    return [each for each, _ in node.next_functions]


def _only(node: Any) -> Any | None:
    """The node below, where no other's gradient depends on this one."""
    below = [each for each in _below(node) if each is not None]
    return below[0] if len(below) == 1 else None


def _names(nodes: list[Any]) -> list[str]:
    return ["" if node is None else node.name() for node in nodes]


def _sums_under(node: Any) -> list[Any]:
    """The sum at the end of a chain of divisions and changes of sign, if that is what it is."""
    below = _only(node)
    while below is not None and below.name() in _DIVISIONS | {"NegBackward0"}:
        below = _only(below)
    return [below] if below is not None and below.name() == "SumBackward0" else []


_KINDS = (
    *(_one_node(name) for name in _LOSSES),
    *(_mean(name, reduction) for name, reduction in MEANS.items()),
    LossKind(
        "label smoothing",
        frozenset({"AddBackward0"}),
        _is_smoothed,
        _smoothed_elements,
        _smoothed_passages,
    ),
    LossKind(
        "soft labels", _DIVISIONS | {"NegBackward0"}, _is_soft, _soft_elements, _soft_passages
    ),
    LossKind(
        "batch mean",
        _DIVISIONS,
        _is_batch_mean,
        _batch_mean_elements,
        _batch_mean_passages,
        lambda node: _is_saved_under(_below(node)[0]),
    ),
)
_CANDIDATES = {
    name: [kind for kind in _KINDS if name in kind.nodes]
    for name in frozenset[str]().union(*(kind.nodes for kind in _KINDS))
}
