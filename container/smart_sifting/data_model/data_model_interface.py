"""What stands between a script's own batches and sifting: a batch of samples, and the way there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any


class SiftingBatch(ABC):
    """A batch whose samples can be told apart: n inputs and, unless None, n labels.

    A subclass sets ``inputs`` and ``labels``, each in any form that ``smart_sifting.batches``
    reads. Iterating gives the inputs and then the labels, if there are any, so that a ``Loss`` may
    write ``[part.to(device) for part in transformed_batch]``.
    """

    inputs: Any
    labels: Any = None

    def __iter__(self) -> Iterator[Any]:
        yield self.inputs
        if self.labels is not None:
            yield self.labels


class SiftingBatchTransform(ABC):
    """The user's pair of functions for a batch that sifting cannot read by itself."""

    @abstractmethod
    def transform(self, batch: Any) -> SiftingBatch:
        """The loader's batch of n samples as a ``SiftingBatch`` of the same n, in order."""

    @abstractmethod
    def reverse_transform(self, sifting_batch: Any) -> Any:
        """The batch that the script expects, of the samples that were kept: 0 or more."""
