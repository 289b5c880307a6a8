"""Hears of every backward pass, before it begins, at the price of one Python call."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from smart_sifting.discovery.compiled import uncompiled


class Backwards:
    """Tells `listener` the root of each backward, while it listens.

    `Tensor.backward` and every framework come through `torch.autograd.backward`; a pass from
    several roots at once is no training step that could be read.
    """

    def __init__(self, listener: Callable[[Tensor], None]) -> None:
        self._listener = uncompiled(listener)
        self._restore: Callable[[], None] | None = None

    def listen(self) -> None:
        """From now on; harmless if it does already."""
        if self._restore is not None:
            return
        plain = torch.autograd.backward

        @wraps(plain)
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(tensors, Tensor):
                self._listener(tensors)
            return plain(tensors, *args, **kwargs)

        def restore() -> None:
            torch.autograd.backward = plain

        torch.autograd.backward = backward
        self._restore = restore

    def close(self) -> None:
        """Listen no more."""
        if self._restore is not None:
            self._restore()
            self._restore = None
