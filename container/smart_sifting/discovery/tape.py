"""What a script does to a batch, from the loader to the loss, written down call by call.

The tape is a `TorchFunctionMode`: while it runs, every torch call outside of a model that touches
a tensor made of a batch becomes a `Node`; a model's call is one node, with the losses computed
inside it. It runs for a few steps only, costs some microseconds a call, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode

from smart_sifting.discovery import mode_stack
from smart_sifting.discovery.compiled import uncompiled
from smart_sifting.discovery.per_sample import is_reduction, original
from smart_sifting.discovery.walk import map_values, tensors_in
from smart_sifting.no_trace import GeneratorStates, cuda_devices, unwrapped

# A step may come back to the batches before the one that a model was called on last.
BATCHES_REMEMBERED = 4
# A loop may fetch this far ahead of its model: Accelerate one batch, Hugging Face's Trainer all
# those whose gradients it accumulates. What is held for it is bounded, in bytes too.
BATCHES_AHEAD = 64
BYTES_AHEAD = 2**30

IN_PLACE = frozenset({"__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__"})


@dataclass(frozen=True)
class Ref:
    """Stands in a node's arguments for a tensor that an earlier node, or the batch, gave."""

    slot: int


@dataclass(frozen=True)
class Reduced:
    """The number that a reduction gave, as it was then: `loss /= 4` changes the tensor itself."""

    value: Tensor
    edge: GradientEdge | None

    @classmethod
    def of(cls, result: Tensor) -> Reduced:
        edge = get_gradient_edge(result) if result.requires_grad else None
        return cls(result.detach().clone(), edge)

    @property
    def grad_fn(self) -> Any:
        """The node of the graph that begins its backward."""
        return None if self.edge is None else self.edge.node


@dataclass
class InnerLoss:
    """A reduction that ran inside a model's call: the `index`-th of them, of so many elements."""

    index: int
    output: Reduced
    reduces: int


@dataclass
class Node:
    """One call: its arguments with `Ref`s in them, and the slots of the tensors it gave.

    `reduces` is how many elements it made one number of, its `output`; 0 if it did something else.
    """

    call: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[int]
    output: Reduced | None
    reduces: int = 0
    in_place: bool = False
    autocast: tuple[str, torch.dtype] | None = None
    generators: GeneratorStates | None = None
    inner_losses: list[InnerLoss] = field(default_factory=list)

    @property
    def module(self) -> nn.Module | None:
        return self.call if isinstance(self.call, nn.Module) else None

    def inputs(self) -> list[int]:
        """The slots it reads."""
        slots: list[int] = []

        def note(value: Any) -> None:
            if isinstance(value, Ref):
                slots.append(value.slot)

        map_values((self.args, self.kwargs), note)
        return slots


@dataclass
class Handed:
    """A batch as it was when the script got it; `loader` is whatever the tape was told."""

    number: int
    loader: Any
    rows: int
    leaves: list[Tensor]
    generators: GeneratorStates
    slots: list[int]


class Tape(TorchFunctionMode):
    """Records while started. `on_backward` is called with the root before each backward runs."""

    def __init__(self, on_backward: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.producers: dict[int, Node] = {}
        self.origins: dict[int, frozenset[int]] = {}
        self.handed: dict[int, Handed] = {}
        self.called: dict[int, nn.Module] = {}
        self._on_backward = on_backward
        self._backward = uncompiled(self._run_backward)
        self._slots: dict[int, tuple[int, Tensor]] = {}
        self._next_slot = 0
        self._number = 0
        self._used = 0
        self._depth = 0
        self._call: list[Any] = []
        self._inner: list[InnerLoss] = []
        self._hooks: list[Any] = []
        self._generators: GeneratorStates | None = None
        self._redirected: list[Tensor] = []

    @property
    def running(self) -> bool:
        return bool(self._hooks)

    @property
    def ahead(self) -> int:
        """Batches handed out since the last one that a model or a backward was called on."""
        return self._number - self._used

    def start(self) -> None:
        """Record from now on; harmless if it does already."""
        if self.running:
            return
        self._used = self._number
        self._depth = 0
        self._hooks = [
            register_module_forward_pre_hook(self._before_module),
            register_module_forward_hook(self._after_module, with_kwargs=True, always_call=True),
        ]
        mode_stack.push_lowest(self)

    def stop(self) -> None:
        """Record no more, and let go of every tensor."""
        if not self.running:
            return
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        mode_stack.remove(self)
        for number in list(self.handed):
            self._forget(number)
        self._slots.clear()
        self.producers.clear()
        self.origins.clear()
        self.called.clear()
        self._inner, self._redirected = [], []

    def hand_out(self, batch: Any, rows: int, loader: Any) -> Handed:
        """Follow the tensors of a batch of `rows` samples that the script is about to get."""
        self._number += 1
        handed = Handed(self._number, loader, rows, [], GeneratorStates(), [])
        for leaf in tensors_in(batch):
            # A copy: the script may change its batch in place.
            handed.leaves.append(leaf.detach().clone())
            handed.slots.append(self._track(leaf, frozenset({self._number})))
        self.handed[self._number] = handed
        self._forget_old()
        return handed

    def slot(self, tensor: Tensor) -> int | None:
        """The slot of a tensor that was made of a batch; None for any other."""
        known = self._slots.get(id(tensor))
        return known[0] if known is not None else None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.backward:
            return self._backward(func, args, kwargs or {})
        if torch.compiler.is_compiling():
            # What the script has compiled stays so: one opaque call, which may not be broken up.
            return func(*args, **(kwargs or {}))
        func, kwargs = original(func), kwargs or {}
        if self._depth:
            result = func(*args, **kwargs)
            if isinstance(result, Tensor) and is_reduction(func, args, kwargs):
                self._inner.append(InnerLoss(len(self._inner), Reduced.of(result), args[0].numel()))
            return result
        known = self._slots_in((args, kwargs))
        result = func(*args, **kwargs)
        if known:
            self._record(func, args, kwargs, result, known)
        return result

    def _run_backward(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        self._use(args[0])
        # Models that are called meanwhile belong to a replay, or to activation checkpointing.
        self._depth += 1
        try:
            self._on_backward(args[0])
            return func(*args, **kwargs)
        finally:
            self._depth -= 1

    def _slots_in(self, arguments: Any) -> dict[int, int]:
        """The slots of a call's tensors that were made of a batch, by the tensors' ids.

        A number counted over several batches, as Hugging Face's Trainer counts tokens, is a
        constant to the step on one of them.
        """
        found = [(each, slot) for each in tensors_in(arguments) if (slot := self.slot(each))]
        if len({self.origins[slot] for _, slot in found}) < 2:
            return {id(each): slot for each, slot in found}
        batches = frozenset[int]().union(
            *(self.origins[slot] for each, slot in found if not _is_count(each))
        )
        return {
            id(each): slot
            for each, slot in found
            if not (batches and _is_count(each)) or self.origins[slot] <= batches
        }

    def _record(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        known: dict[int, int],
    ) -> Node | None:
        in_place = _is_in_place(func)
        outputs = [args[0]] if in_place else list(tensors_in(result))
        if not outputs:
            return None
        origin = frozenset[int]().union(*(self.origins[slot] for slot in known.values()))
        reduces = args[0].numel() if not in_place and is_reduction(func, args, kwargs) else 0
        node = Node(
            call=func,
            args=map_values(args, lambda v: _ref(v, known)),
            kwargs=map_values(kwargs, lambda v: _ref(v, known)),
            outputs=[self._track(tensor, origin) for tensor in outputs],
            output=Reduced.of(outputs[0]) if reduces else None,
            reduces=reduces,
            in_place=in_place,
            autocast=_autocast(outputs[0].device.type),
        )
        for slot in node.outputs:
            self.producers[slot] = node
        return node

    def _before_module(self, module: nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling():
            return
        if not self._depth and (_is_redirected(module) or next(module.parameters(), None) is None):
            return
        self._depth += 1
        if self._depth == 1:
            self.called[id(module)] = module
            self._inner = []
            self._generators = GeneratorStates(cuda_devices([module]))

    def _after_module(self, module: nn.Module, args: Any, *kwargs_and_result: Any) -> None:
        if torch.compiler.is_compiling():
            return
        if not self._depth:
            self._redirected = self._given_on(module, kwargs_and_result[-1])
            return
        self._depth -= 1
        # torch gives no kwargs to a hook where the module's forward has failed.
        if self._depth or len(kwargs_and_result) < 2:
            return
        kwargs, result = kwargs_and_result
        known = self._slots_in((args, kwargs))
        if not known:
            return
        node = self._record(module, args, kwargs, result, known)
        if node is None:
            return
        node.generators, node.inner_losses = self._generators, self._inner
        self._use(*tensors_in(result))

    def _given_on(self, module: nn.Module, result: Any) -> list[Tensor]:
        """The tensors in a result. A data-parallel wrapper that looks for unused parameters gives
        those of its redirected module on as new ones."""
        outputs = list(tensors_in(result))
        if isinstance(module, nn.parallel.DistributedDataParallel) and not module.static_graph:
            for inner, outer in zip(self._redirected, outputs, strict=False):
                known = self._slots.get(id(inner))
                if known is not None and inner is not outer:
                    self._slots[id(outer)] = (known[0], outer)
        return outputs

    def _use(self, *tensors: Tensor) -> None:
        for tensor in tensors:
            slot = self.slot(tensor)
            if slot is not None:
                self._used = max(self._used, *self.origins[slot])

    def _track(self, tensor: Tensor, origin: frozenset[int]) -> int:
        self._next_slot += 1
        # The tensor is held so that its id is not given to another while it is looked up.
        self._slots[id(tensor)] = (self._next_slot, tensor)
        self.origins[self._next_slot] = origin
        return self._next_slot

    def _forget_old(self) -> None:
        wanted = BATCHES_REMEMBERED - 1 + min(self.ahead, BATCHES_AHEAD)
        while len(self.handed) > BATCHES_REMEMBERED and (
            len(self.handed) > wanted or self._held() > BYTES_AHEAD
        ):
            self._forget(min(self.handed))

    def _held(self) -> int:
        return sum(leaf.nbytes for handed in self.handed.values() for leaf in handed.leaves)

    def _forget(self, number: int) -> None:
        if self.handed.pop(number, None) is None:
            return
        gone = {slot for slot, origin in self.origins.items() if max(origin) <= number}
        self._slots = {key: kept for key, kept in self._slots.items() if kept[0] not in gone}
        for slot in gone:
            self.origins.pop(slot, None)
            self.producers.pop(slot, None)


def _ref(value: Any, known: dict[int, int]) -> Any:
    return Ref(known[id(value)]) if isinstance(value, Tensor) and id(value) in known else value


def _is_redirected(module: nn.Module) -> bool:
    """Whether a call of a module runs another method of it, with calls of the model inside.

    Lightning calls its data-parallel wrapper to run `training_step`, which may not be run again:
    it logs and counts.
    """
    forward = vars(unwrapped(module)).get("forward")
    return getattr(forward, "__name__", "") == "wrapped_forward"


def _is_count(tensor: Tensor) -> bool:
    return tensor.dim() == 0 and not tensor.requires_grad


def _is_in_place(func: Callable[..., Any]) -> bool:
    name = getattr(func, "__name__", "")
    return name in IN_PLACE or (name.endswith("_") and not name.endswith("__"))


def _autocast(device_type: str) -> tuple[str, torch.dtype] | None:
    if not torch.is_autocast_enabled(device_type):
        return None
    return device_type, torch.get_autocast_dtype(device_type)
