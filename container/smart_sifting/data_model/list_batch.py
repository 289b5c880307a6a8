"""A batch as lists of samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from smart_sifting.data_model.data_model_interface import SiftingBatch
from smart_sifting.errors import UnsupportedDataFormatException


class ListBatch(SiftingBatch):
    """``inputs[i]`` and ``labels[i]`` are sample i, whatever they are; either list may be empty.

    Raises ``UnsupportedDataFormatException`` if the two lists have different lengths.
    """

    inputs: Sequence[Any]
    labels: Sequence[Any] | None

    def __init__(self, inputs: Sequence[Any], labels: Sequence[Any] | None = None) -> None:
        if labels is not None and len(labels) != len(inputs):
            raise UnsupportedDataFormatException(
                f"ListBatch has {len(inputs)} inputs and {len(labels)} labels; "
                "give one label for every input, or none at all"
            )
        self.inputs = inputs
        self.labels = labels

    @property
    def num_samples(self) -> int:
        """How many samples there are."""
        return len(self.inputs)

    def __repr__(self) -> str:
        return f"ListBatch(inputs={self.inputs!r}, labels={self.labels!r})"
