"""What a user writes to tell sifting how hard a sample is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch


class Loss(ABC):
    """The loss of every sample by itself: the script's own loss, without its reduction.

    class CrossEntropy(Loss):
        def loss(self, model, transformed_batch, original_batch=None):
            inputs, labels = original_batch
            return torch.nn.functional.cross_entropy(model(inputs), labels, reduction="none")
    """

    @abstractmethod
    def loss(
        self,
        model: torch.nn.Module,
        transformed_batch: Any,
        original_batch: Any = None,
    ) -> torch.Tensor:
        """n losses, of shape [n] or [n, 1], for the n samples of the batch, in order.

        ``transformed_batch`` is what the ``SiftingBatchTransform`` made, or the batch itself where
        there is none; ``original_batch`` is what the loader gave. Called without gradients and in
        evaluation mode.
        """
