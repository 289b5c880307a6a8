"""What the batches of one sampler have in common, so that others can be made like them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Indices = npt.NDArray[np.int64]

NOT_INDICES = "its batches are not made of indices"
UNEVEN = "its batches differ in size"


class BatchForm:
    """Learns from each batch that it is shown.

    Attributes:
        size: samples of a full batch, 0 before one was seen.
        write: makes a batch of an int64 array.
        refusal: why other batches cannot take the place of these, in a few words; None if they can.
    """

    def __init__(self) -> None:
        self.size = 0
        self.write: Callable[[Indices], Any] = np.ndarray.tolist
        self.refusal: str | None = None
        self._short = False

    def see(self, batch: Any) -> None:
        """Another batch of the sampler, in its order. Only the last may be shorter."""
        if self.refusal is not None:
            return
        if self.size == 0:
            write = _writer(batch)
            if write is None:
                self.refusal = NOT_INDICES
                return
            self.size, self.write = len(batch), write
        elif self._short or len(batch) > self.size:
            self.refusal = UNEVEN
        self._short = len(batch) < self.size


def _writer(batch: Any) -> Callable[[Indices], Any] | None:
    """Makes batches like this one of int64 arrays; None if it does not consist of indices.

    A data set may depend on whether it is given Python's integers, NumPy's or tensors.
    """
    if isinstance(batch, np.ndarray) and batch.ndim == 1 and batch.dtype.kind in "iu":
        return lambda indices: indices.astype(batch.dtype)
    if isinstance(batch, torch.Tensor) and batch.ndim == 1 and _integral(batch):
        return lambda indices: torch.from_numpy(indices).to(batch.dtype)
    kind: Any = type(batch)
    if kind not in (list, tuple) or not batch:
        return None
    first = batch[0]
    if type(first) is int:
        return lambda indices: kind(indices.tolist())
    if isinstance(first, np.integer):
        return lambda indices: kind(indices.astype(first.dtype))
    if isinstance(first, torch.Tensor) and first.ndim == 0 and _integral(first):
        return lambda indices: kind(torch.from_numpy(indices).to(first.dtype))
    return None


def _integral(tensor: torch.Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype is torch.bool)
