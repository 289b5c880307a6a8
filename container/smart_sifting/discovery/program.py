"""The part of a tape that leads from a batch to its loss, to be run again on other batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from smart_sifting.discovery.per_sample import (
    Elements,
    elements_of,
    is_reduction,
    original,
    reduced,
)
from smart_sifting.discovery.tape import Handed, Node, Reduced, Ref, Tape
from smart_sifting.discovery.walk import map_values, tensors_in
from smart_sifting.no_trace import GeneratorStates, unwrapped

# How far a loss may be from its replay, relatively: what rounding a sum in that type can do.
# Tighter than looks needed: before a model has learned anything, wrong labels cost as much as
# right ones, to within some percent.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 2e-4, torch.float16: 2e-3, torch.bfloat16: 1e-2}


class NotTraceable(Exception):
    """Why a step's loss could not be followed back to its batch."""


@dataclass(frozen=True)
class Term:
    """A reduction that the loss is made of: a node of the program, or one inside a model's call.

    Attributes:
        node: index of the node in the program.
        inner: which reduction inside that model's call; None: the node is the reduction.
        weight: derivative of the loss to this term.
        value: the term as the script computed it.
    """

    node: int
    inner: int | None
    weight: float
    value: float


@dataclass(frozen=True)
class Program:
    """What one training step did to its batch, up to the terms of its loss.

    Attributes:
        leaf_slots: the slots of the batch's tensors, in their order in the batch.
        nodes: the calls, in order.
        terms: the reductions that the loss is a weighted sum of.
        tolerance: relative difference below which two values of the loss count as equal.
    """

    leaf_slots: list[int]
    nodes: list[Node]
    terms: list[Term]
    tolerance: float

    @property
    def modules(self) -> list[nn.Module]:
        """The models it calls, each once, data-parallel wrappers taken off."""
        found = {id(m): unwrapped(m) for node in self.nodes if (m := node.module) is not None}
        return list(found.values())

    def generators(self) -> list[GeneratorStates | None]:
        """The random states that its model calls began with."""
        return [node.generators for node in self.nodes if node.module is not None]

    def same_course(self, other: Program) -> bool:
        """Whether the other does the same calls, though on another batch."""
        if len(self.nodes) != len(other.nodes) or len(self.terms) != len(other.terms):
            return False
        return all(a.call == b.call for a, b in zip(self.nodes, other.nodes, strict=True))

    def elements(
        self,
        leaves: Sequence[Tensor],
        generators: Sequence[GeneratorStates | None] = (),
    ) -> list[Elements]:
        """Run on the tensors of another batch; gives the elements of each term.

        Args:
            leaves: as many tensors as `leaf_slots`, of the same shapes as on the tape.
            generators: the random states to begin each model call with.
        """
        values = dict(zip(self.leaf_slots, leaves, strict=True))
        wanted = {term.node: i for i, term in enumerate(self.terms) if term.inner is None}
        found: dict[int, Elements] = {}
        states = iter(generators)
        for at, node in enumerate(self.nodes):
            args, kwargs = map_values((node.args, node.kwargs), lambda v: _resolve(v, values))
            with _same_autocast(node):
                if at in wanted:
                    found[wanted[at]] = elements_of(node.call, args, kwargs)
                elif node.module is not None:
                    inner = self._inner_terms(at)
                    _restore(next(states, None))
                    found |= _call_module(node, args, kwargs, inner, values)
                else:
                    _call(node, args, kwargs, values)
        if len(found) != len(self.terms):
            raise NotTraceable("the model computes its loss another way in eval mode")
        return [found[i] for i in range(len(self.terms))]

    def agrees(self, elements: Sequence[Elements], observed: Program, rows: int) -> bool:
        """Whether elements that this program gave make up the terms that the script observed."""
        for made, term in zip(elements, observed.terms, strict=True):
            value = reduced(made, rows)
            if value is None or abs(value - term.value) > self.tolerance * max(
                abs(term.value), 1e-6
            ):
                return False
        return True

    def _inner_terms(self, at: int) -> dict[int, int]:
        """Which reductions inside the call of node `at` are terms: inner index to term."""
        here = ((i, t.inner) for i, t in enumerate(self.terms) if t.node == at)
        return {inner: i for i, inner in here if inner is not None}


def program_of(tape: Tape, root: Tensor) -> tuple[Program, Handed]:
    """The program of the step whose loss is `root`, and the batch that it was computed from.

    Raises:
        NotTraceable: the loss does not come from one batch by reductions that can be opened.
    """
    slot = tape.slot(root)
    if slot is None:
        raise NotTraceable("the loss could not be traced back to a batch")
    handed = _one_batch(tape, slot)
    reductions = _reductions_under(tape, slot, handed.rows)
    if not reductions:
        raise NotTraceable("the loss is not a mean or a sum of per-sample losses")
    outputs = [output for _, _, output in reductions]
    weights = _weights(root, outputs)
    terms = [(n, i, w, o) for (n, i, o), w in zip(reductions, weights, strict=True) if w]
    total = sum(weight * float(output.value) for _, _, weight, output in terms)
    tolerance = max((_tolerance(output.value.dtype) for output in outputs), default=0.0)
    if not terms or abs(total - float(root.detach())) > tolerance * max(abs(total), 1e-6):
        raise NotTraceable("the loss has terms that do not come from the batch sample by sample")
    nodes = _ancestors(tape, [node for node, _, _, _ in terms])
    at = {id(node): i for i, node in enumerate(nodes)}
    return (
        Program(
            leaf_slots=handed.slots,
            nodes=nodes,
            terms=[Term(at[id(n)], i, w, float(o.value)) for n, i, w, o in terms],
            tolerance=tolerance,
        ),
        handed,
    )


def released(program: Program) -> Program:
    """The program without the tensors that its step computed: only what running it needs."""
    nodes = [replace(node, output=None, inner_losses=[], generators=None) for node in program.nodes]
    return replace(program, nodes=nodes)


def _one_batch(tape: Tape, slot: int) -> Handed:
    origin = tape.origins[slot]
    loaders = {id(tape.handed[n].loader) for n in origin if n in tape.handed}
    if len(loaders) > 1:
        raise NotTraceable("the loss depends on batches of two loaders")
    if len(origin) > 1:
        raise NotTraceable("the loss depends on several batches at once")
    (number,) = origin
    if number not in tape.handed:
        raise NotTraceable("the loss depends on a batch from long ago")
    return tape.handed[number]


def _reductions_under(tape: Tape, root: int, rows: int) -> list[tuple[Node, int | None, Reduced]]:
    """The first reductions on each way from the loss back to the batch."""
    found: list[tuple[Node, int | None, Reduced]] = []
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        slot = waiting.pop()
        node = tape.producers.get(slot)
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.module is not None:
            found += [
                (node, inner.index, inner.output)
                for inner in node.inner_losses
                if inner.reduces % rows == 0
            ]
        elif node.reduces and node.reduces % rows == 0 and node.output is not None:
            found.append((node, None, node.output))
        else:
            waiting += node.inputs()
    return [each for each in found if each[2].edge is not None]


def _weights(root: Tensor, outputs: list[Reduced]) -> list[float]:
    """The derivative of the loss to each term; 0.0 for those that it does not depend on."""
    others = [each.edge for each in outputs if each.edge and each.grad_fn is not root.grad_fn]
    if not others:
        return [1.0] * len(outputs)
    grads = iter(torch.autograd.grad(root, others, retain_graph=True, allow_unused=True))
    weights = []
    for output in outputs:
        grad = torch.ones(()) if output.grad_fn is root.grad_fn else next(grads)
        weights.append(0.0 if grad is None else float(grad))
    return weights


def _ancestors(tape: Tape, ends: list[Node]) -> list[Node]:
    """The nodes that `ends` need, themselves included, in the order in which they ran."""
    needed: dict[int, Node] = {}
    waiting = list(ends)
    while waiting:
        node = waiting.pop()
        if id(node) in needed:
            continue
        needed[id(node)] = node
        waiting += [tape.producers[slot] for slot in node.inputs() if slot in tape.producers]
    return sorted(needed.values(), key=lambda node: min(node.outputs))


def _resolve(value: Any, values: dict[int, Tensor]) -> Any:
    return values[value.slot] if isinstance(value, Ref) else value


def _call(node: Node, args: Any, kwargs: Any, values: dict[int, Tensor]) -> None:
    if node.in_place:
        # On a copy: what is changed may be the user's batch, which is still to be trained on.
        changed = args[0].clone()
        node.call(changed, *args[1:], **kwargs)
        values[node.outputs[0]] = changed
        return
    _bind(node, node.call(*args, **kwargs), values)


def _call_module(
    node: Node, args: Any, kwargs: Any, inner: dict[int, int], values: dict[int, Tensor]
) -> dict[int, Elements]:
    module = unwrapped(node.call)  # type: ignore[arg-type]
    if not inner:
        _bind(node, module(*args, **kwargs), values)
        return {}
    catcher = _Catcher(set(inner))
    with catcher:
        module(*args, **kwargs)
    return {inner[index]: elements for index, elements in catcher.caught.items()}


def _bind(node: Node, result: Any, values: dict[int, Tensor]) -> None:
    outputs = list(tensors_in(result))
    if len(outputs) != len(node.outputs):
        raise NotTraceable("the model gives other results in eval mode than in training")
    values.update(zip(node.outputs, outputs, strict=True))


class _Catcher(TorchFunctionMode):
    """Opens the wanted reductions that run inside a model's call."""

    def __init__(self, wanted: set[int]) -> None:
        super().__init__()
        self.caught: dict[int, Elements] = {}
        self._wanted = wanted
        self._count = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        func, kwargs = original(func), kwargs or {}
        if is_reduction(func, args, kwargs):
            if self._count in self._wanted:
                self.caught[self._count] = elements_of(func, args, kwargs)
            self._count += 1
        return func(*args, **kwargs)


def _same_autocast(node: Node) -> AbstractContextManager[Any]:
    if node.autocast is None:
        return nullcontext()
    device_type, dtype = node.autocast
    return torch.autocast(device_type, dtype=dtype, cache_enabled=False)


def _restore(state: GeneratorStates | None) -> None:
    if state is not None:
        state.restore()


def _tolerance(dtype: torch.dtype) -> float:
    return TOLERANCE.get(dtype, TOLERANCE[torch.float32])
