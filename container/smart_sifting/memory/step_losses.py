"""One loss for each sample of a training step, for nothing: autograd has saved them.

When a script calls `backward`, the graph below its loss still holds what each loss function needs
for its gradient, and so what its elements were. `StepLosses` knows the way from the root of that
graph to the terms of the loss; a step costs a few attribute look-ups and one element-wise kernel.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import torch
from torch import Tensor

from smart_sifting.discovery.per_sample import Elements, row_losses
from smart_sifting.discovery.program import NotTraceable, Program, Term
from smart_sifting.memory import means
from smart_sifting.memory.loss_nodes import LossKind, kind_named, kind_of

# How many nodes below the root are looked at: a loss is made near the end of a step.
NODES_SEARCHED = 128
# And how many from a loss on down for the labels that it was made with.
NODES_NEAR = 16

Path = tuple[int, ...]


@dataclass(frozen=True)
class _Source:
    """Where a term of the loss is read.

    Attributes:
        kind: what its node looks like.
        nth: its node is so many-th of this kind, seen from the root, counted from 0.
        share: its part in the loss, relative to the term with the largest.
    """

    kind: LossKind
    nth: int
    share: float


class StepLosses:
    """Reads one loss for each row off a training step, from what autograd saved for its backward.

    Args:
        sources: the terms of the loss.
        paths: for each of them the way from the root: which of `next_functions` to take.
        batch_first: how flattened elements lie: all of a sample's together, or apart.
        remembers: some term is a plain mean or sum, for which autograd saves nothing.
    """

    def __init__(
        self, sources: list[_Source], paths: list[Path], *, batch_first: bool, remembers: bool
    ) -> None:
        self._sources = sources
        self._paths = paths
        self._batch_first = batch_first
        self._remembers = remembers
        self._running = False
        self._hooks: list[Any] = []

    @classmethod
    def of(
        cls, program: Program, root: Tensor, rows: int, *, batch_first: bool = True
    ) -> StepLosses:
        """Learn from one observed step where its losses are.

        Args:
            program: of this very step, not `released` yet.
            root: the loss that `backward` was called on.
            rows: samples in the batch.

        Raises:
            NotTraceable: nothing can be read off such a step.
        """
        ends = [_end_of(program, term) for term in program.terms]
        kinds = [_known_kind(end) for end in ends]
        places = _places(root, ends)
        largest = max(abs(term.weight) for term in program.terms)
        sources = [
            _Source(kind, nth, term.weight / largest)
            for kind, (nth, _), term in zip(kinds, places, program.terms, strict=True)
        ]
        with torch.no_grad():
            elements = [kind.elements(end, rows) for kind, end in zip(kinds, ends, strict=True)]
        for each in elements:
            if each is not None and _rows_of(each, rows, batch_first) is None:
                raise NotTraceable("the elements of the loss cannot be told apart by sample")
        return cls(
            sources,
            [path for _, path in places],
            batch_first=batch_first,
            remembers=not all(k.saves(end) for k, end in zip(kinds, ends, strict=True)),
        )

    def start(self) -> None:
        """From now on keep what autograd does not; nothing is replaced where it keeps all."""
        if self._remembers and not self._running:
            means.start()
            self._running = True

    def stop(self) -> None:
        """Take out of torch what `start` put in."""
        if self._running:
            means.stop()
            self._running = False

    def read(self, root: Tensor, rows: int) -> Tensor | None:
        """The losses of a step that is about to go backward. It waits for no accelerator.

        Args:
            root: the loss that `backward` is called on.
            rows: samples in the batch; may be fewer than were observed.

        Returns:
            (rows,), detached, on the loss's device, on the scale of `ReplayScorer`'s losses; None
            if this root is of another kind of step.
        """
        nodes = self._nodes(root)
        if nodes is None:
            return None
        total: Tensor | None = None
        with torch.no_grad():
            for source, node in zip(self._sources, nodes, strict=True):
                elements = source.kind.elements(node, rows)
                losses = None if elements is None else _rows_of(elements, rows, self._batch_first)
                if losses is None:
                    return None
                if source.share != 1.0:
                    losses = losses * source.share
                total = losses if total is None else total + losses
        return total

    def classes(self, root: Tensor, rows: int) -> Tensor | None:
        """The (rows,) integer class labels of a step, on the loss's device; None without such."""
        for node in chain.from_iterable(map(_near, self._nodes(root) or ())):
            target = getattr(node, "_saved_target", None)
            if isinstance(target, Tensor) and target.shape == (rows,) and _integral(target):
                return target.detach()
        return None

    def weigh(self, root: Tensor, weights: Tensor) -> bool:
        """Scale each row's gradient in the backward of `root` that comes next.

        What an earlier call asked for holds no longer, so that a graph that goes backward twice is
        weighted once each time.

        Args:
            weights: (rows,), on the loss's device.

        Returns:
            False, and nothing is scaled, if this root is of another kind of step.
        """
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        nodes = self._nodes(root)
        if nodes is None:
            return False
        found = zip(self._sources, nodes, strict=True)
        passages = [passage for source, node in found for passage in source.kind.passages(node)]
        factors = [_factor(weights, passage.shape, self._batch_first) for passage in passages]
        if None in factors:
            return False
        for passage, factor in zip(passages, factors, strict=True):
            if factor is not None:
                factor = factor.unsqueeze(1) if passage.classes else factor
                self._hooks.append(passage.node.register_hook(_scaling(factor)))
        return True

    def describe(self) -> dict[str, Any]:
        """All it knows, as plain data; see `from_description`."""
        return {
            "terms": [
                {"kind": source.kind.name, "nth": source.nth, "share": source.share, "path": path}
                for source, path in zip(self._sources, map(list, self._paths), strict=True)
            ],
            "batch_first": self._batch_first,
            "remembers": self._remembers,
        }

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> StepLosses:
        """What `describe` described.

        Raises:
            KeyError: it was described by another version.
        """
        terms = description["terms"]
        return cls(
            [_Source(kind_named(t["kind"]), t["nth"], t["share"]) for t in terms],
            [tuple(term["path"]) for term in terms],
            batch_first=description["batch_first"],
            remembers=description["remembers"],
        )

    def _nodes(self, root: Tensor) -> list[Any] | None:
        """The nodes of the terms: where they were last, or where they are now."""
        if root.grad_fn is None:
            return None
        nodes: list[Any] = []
        for source, path in zip(self._sources, self._paths, strict=True):
            node = _follow(root.grad_fn, path)
            if node is None or not source.kind.begins(node):
                return self._search(root)
            nodes.append(node)
        return nodes

    def _search(self, root: Tensor) -> list[Any] | None:
        wanted = {(source.kind.name, source.nth): i for i, source in enumerate(self._sources)}
        found: dict[int, tuple[Any, Path]] = {}
        for node, path, kind, nth in _kinds_under(root):
            at = wanted.get((kind.name, nth))
            if at is not None:
                found[at] = node, path
            if len(found) == len(wanted):
                self._paths = [found[i][1] for i in range(len(found))]
                return [found[i][0] for i in range(len(found))]
        return None


def agrees(read: Tensor, replayed: Tensor, tolerance: float) -> bool:
    """Whether losses read off a step are those that a replay of the step gives.

    Args:
        read: (rows,), what `StepLosses.read` gave.
        replayed: (rows,), of any device and type.
        tolerance: largest difference, relative to the replayed losses' mean size.
    """
    ours, theirs = read.double().cpu(), replayed.double().cpu()
    if ours.shape != theirs.shape:
        return False
    return bool(((ours - theirs).abs() <= tolerance * theirs.abs().mean().clamp_min(1e-6)).all())


def _end_of(program: Program, term: Term) -> Any:
    """The node of the graph that begins a term's backward."""
    node = program.nodes[term.node]
    inner = {each.index: each.output for each in node.inner_losses}
    output = node.output if term.inner is None else inner.get(term.inner)
    if output is None or output.grad_fn is None:
        raise NotTraceable("the step's own tensors are gone")
    return output.grad_fn


def _known_kind(end: Any) -> LossKind:
    kind = kind_of(end)
    if kind is None:
        raise NotTraceable(f"no losses of single samples can be read off {end.name()}")
    return kind


def _places(root: Tensor, ends: list[Any]) -> list[tuple[int, Path]]:
    """For each of these nodes, how many-th of its kind it is from the root, and the way to it."""
    found = {id(node): (nth, path) for node, path, _, nth in _kinds_under(root)}
    places = [found.get(id(end)) for end in ends]
    if any(place is None for place in places):
        raise NotTraceable("the loss is too far from the root of the graph")
    return [place for place in places if place is not None]


def _kinds_under(root: Tensor) -> Iterator[tuple[Any, Path, LossKind, int]]:
    """The nodes that begin some loss's backward, nearest first; with way, kind and number."""
    counts: Counter[str] = Counter()
    seen = {root.grad_fn}
    waiting: deque[tuple[Any, Path]] = deque([(root.grad_fn, ())])
    for _ in range(NODES_SEARCHED):
        if not waiting:
            return
        node, path = waiting.popleft()
        kind = kind_of(node)
        if kind is not None:
            yield node, path, kind, counts[kind.name]
            counts[kind.name] += 1
        for i, (below, _) in enumerate(node.next_functions):
            if below is not None and below not in seen:
                seen.add(below)
                waiting.append((below, (*path, i)))


def _follow(node: Any, path: Path) -> Any | None:
    for i in path:
        below = node.next_functions
        if i >= len(below) or below[i][0] is None:
            return None
        node = below[i][0]
    return node


def _near(node: Any) -> Iterator[Any]:
    """A term's node and those nearest below it: a loss may be put together of several kernels."""
    waiting = deque([node])
    for _ in range(NODES_NEAR):
        if not waiting:
            return
        yield (near := waiting.popleft())
        waiting += [below for below, _ in near.next_functions if below is not None]


def _integral(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex())


def _rows_of(elements: Elements, rows: int, batch_first: bool) -> Tensor | None:
    """(rows,) losses in float32 or better."""
    values = elements.values
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    if values.shape == (rows,) and elements.reduction != "sum":
        return values  # the usual case, in which nothing is left to compute
    wide = Elements(values, elements.valid, reduction=elements.reduction)
    return row_losses(wide, rows, batch_first=batch_first)


def _factor(weights: Tensor, shape: tuple[int, ...], batch_first: bool) -> Tensor | None:
    """The weights spread over elements of that shape; None if those are not so many rows."""
    rows, count = len(weights), prod(shape)
    if not rows or count % rows:
        return None
    spread = weights.expand(count // rows, rows)
    return (spread.t() if batch_first else spread).reshape(shape)


def _scaling(factor: Tensor) -> Any:
    """A hook that multiplies the gradients that a node has computed."""

    def scale(inputs: tuple[Tensor | None, ...], _outputs: Any) -> tuple[Tensor | None, ...]:
        # Multiplied before it is rounded to the gradient's type.
        return tuple(None if g is None else (g * factor).to(g.dtype) for g in inputs)

    return scale
