"""A batch as tensors."""

from __future__ import annotations

from typing import Any

from smart_sifting.data_model.data_model_interface import SiftingBatch


class TensorBatch(SiftingBatch):
    """``inputs`` of shape [n, ...] and ``labels`` of shape [n, ...] or None."""

    def __init__(self, inputs: Any, labels: Any = None) -> None:
        self.inputs = inputs
        self.labels = labels

    @property
    def num_samples(self) -> int:
        """How many samples there are: the length of the first dimension."""
        return len(self.inputs)

    def __repr__(self) -> str:
        return f"TensorBatch(inputs={self.inputs!r}, labels={self.labels!r})"
