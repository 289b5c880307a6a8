"""A forward pass that leaves nothing behind: the next training step cannot tell that it was."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def no_trace(modules: Iterable[nn.Module], *, evaluate: bool = True) -> Iterator[None]:
    """Run a block without gradients; flags, buffers, generators and autocast's cache are kept.

    Args:
        modules: the roots that the block will call.
        evaluate: put every submodule in eval mode inside, each back to its own flag after.
            False replays a training forward: buffers that it changes are put back.
    """
    roots = list(modules)
    called = [module for root in roots for module in root.modules()]
    flags = [(module, module.training) for module in called] if evaluate else []
    buffers = [] if evaluate else [(b, b.clone()) for root in roots for b in root.buffers()]
    replicas = [(m, m.require_forward_param_sync) for m in _replicas(called)]
    generators = GeneratorStates(cuda_devices(roots))
    cache_enabled = torch.is_autocast_cache_enabled()
    try:
        for module, _ in flags:
            _set_training(module, False)
        for replica, _ in replicas:
            replica.require_forward_param_sync = False
        # The training step must not find a weight that was cast here: older torch remembers it
        # without its gradient.
        torch.set_autocast_cache_enabled(False)
        with torch.no_grad():
            yield
    finally:
        for buffer, before in buffers:
            # Through `.data`: autograd must not take this for a change since the user's forward.
            buffer.data.copy_(before)
        torch.set_autocast_cache_enabled(cache_enabled)
        for module, training in flags:
            _set_training(module, training)
        for replica, synchronised in replicas:
            replica.require_forward_param_sync = synchronised
        generators.restore()


class GeneratorStates:
    """The state of every global random generator that a forward pass could draw from."""

    def __init__(self, cuda_devices: Iterable[torch.device] = ()) -> None:
        self._cpu = torch.get_rng_state()
        self._cuda = {device: torch.cuda.get_rng_state(device) for device in cuda_devices}
        self._python = random.getstate()
        # Only if the program has loaded it: importing numpy here would cost more than it saves.
        self._numpy: Any = sys.modules.get("numpy.random")
        self._numpy_state = self._numpy.get_state() if self._numpy is not None else None

    def restore(self) -> None:
        torch.set_rng_state(self._cpu)
        for device, state in self._cuda.items():
            torch.cuda.set_rng_state(state, device)
        random.setstate(self._python)
        if self._numpy is not None:
            self._numpy.set_state(self._numpy_state)


def synchronize(modules: Iterable[nn.Module]) -> None:
    """Wait for the modules' accelerators, so that a clock reads the work and not its queueing."""
    for device in cuda_devices(modules):
        torch.cuda.synchronize(device)


def cuda_devices(modules: Iterable[nn.Module]) -> set[torch.device]:
    """The CUDA devices on which the modules' parameters lie now."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return set()  # without a walk over all parameters, which a large model has many of
    found = {p.device for module in modules for p in module.parameters()}
    return {device for device in found if device.type == "cuda"}


def _set_training(module: nn.Module, training: bool) -> None:
    """Set a module's own flag, past torch's search for a parameter of that name.

    That search made up most of what scoring a small model cost.
    """
    if module.training is training:
        return
    if type(module).__setattr__ is nn.Module.__setattr__:
        object.__setattr__(module, "training", training)
    else:
        module.training = training


def _replicas(modules: Iterable[nn.Module]) -> Iterator[Any]:
    """Data-parallel wrappers deep inside a model, where `unwrapped` does not reach.

    Told that there is nothing to synchronise, their forward runs no collective.
    """
    return (m for m in modules if isinstance(m, nn.parallel.DistributedDataParallel))


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside a data-parallel wrapper, also where the wrapper has been compiled.

    A forward through `DistributedDataParallel` without gradients broadcasts buffers and makes the
    next training forward skip its own synchronisation.
    """
    wrappers = (nn.parallel.DistributedDataParallel, nn.DataParallel)
    inner = getattr(module, "_orig_mod", module)
    return unwrapped(inner.module) if isinstance(inner, wrappers) else module
