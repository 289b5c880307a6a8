"""How many samples a job can do without, as far as its losses tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def affordable_share(scores: NDArray[np.floating]) -> float:
    """The share of the samples that estimates a gradient as well as all of them drawn alike would.

    A sample's gradient is about as large as the square root of its loss. Drawn in proportion to
    it, n samples are worth n * mean(l) / mean(sqrt(l))^2 of those drawn alike (importance
    sampling: Katharopoulos and Fleuret, 2018). While all losses are alike that is no gain, and
    the share is 1; once most samples are fitted, few hold most of what is left to learn.

    Args:
        scores: (n,) losses; those that are not finite, or below 0, say nothing.
    """
    known = scores[np.isfinite(scores) & (scores >= 0)].astype(np.float64)
    mean = float(known.mean()) if len(known) else 0.0
    if mean == 0.0:
        return 1.0
    return float(np.sqrt(known).mean()) ** 2 / mean
