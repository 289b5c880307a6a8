"""The per-sample loss that a user may bring."""

from smart_sifting.loss.abstract_sift_loss_module import Loss

__all__ = ["Loss"]
