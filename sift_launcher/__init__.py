"""sift-launcher: run a PyTorch training script as a sifted, SageMaker-style job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sift_launcher.estimator.pytorch import SiftPyTorch as SiftPyTorch
    from sift_launcher.estimator.pytorch import sift as sift

__version__ = "0.1.0"

_OF_THE_ESTIMATOR = ("SiftPyTorch", "sift")


def __getattr__(name: str) -> Any:
    """The estimator, when it is asked for: it imports SageMaker's SDK, which takes seconds.

    Raises ExtraMissing, with the command that installs it, when that is not there.
    """
    if name not in _OF_THE_ESTIMATOR:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sift_launcher.estimator import pytorch

    return getattr(pytorch, name)
