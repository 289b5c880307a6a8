"""How far a job has come with its samples, and what that means for the next epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smart_sifting.memory.preference import strength_after, visit_rates
from smart_sifting.memory.score_memory import NO_CLASS, ScoreMemory
from smart_sifting.memory.share import affordable_share
from smart_sifting.ranks import lowest_of_all_ranks
from smart_sifting.sift_config.job_config import VISITS_AUTO, SiftConfig


class Regime:
    """Follows the epochs over one data set.

    Args:
        config: how much to keep.
        readable: whether the losses of training steps are known; without them, what was asked for
            is kept, and evenly.

    Attributes:
        keep: the share of the samples that the next epoch keeps.
    """

    def __init__(self, config: SiftConfig, *, readable: bool) -> None:
        self.keep = 1.0 if config.auto and readable else config.keep
        self._config = config
        # Visits of a sample so far, on average, and the mean loss of the first epoch's samples.
        self._visits = 0.0
        self._first_mean: float | None = None

    def epoch_ended(self, memory: ScoreMemory, visits: float, *, readable: bool) -> None:
        """Learn from an epoch that visited the samples so often, on average.

        A collective in a job that chooses its share, where there are several ranks.
        """
        self._visits += visits
        if self._first_mean is None:
            scores = memory.scores
            known = scores[np.isfinite(scores)]
            self._first_mean = float(known.mean()) if len(known) else None
        if self._config.auto:
            # Down only: a share that follows every wave of the losses is no plan.
            share = self._affordable(memory, readable)
            self.keep = max(self._config.keep, min(self.keep, share))

    def rates(
        self, memory: ScoreMemory, shown: NDArray[np.int64], visits: int
    ) -> NDArray[np.float32] | None:
        """How often samples should be visited relative to each other; None: all alike.

        Args:
            memory: what is known of them.
            shown: (n,) samples as the coming epoch's sampler gives them.
            visits: how many of those are visited.
        """
        strength = strength_after(self._visits)
        scores, classes = memory.scores, memory.classes
        if strength == 0 and (classes is None or self._config.class_floor == 0):
            return None
        if classes is not None:
            # A class may have become known within this epoch, before it was interrupted.
            classes = np.where(np.isnan(scores), np.uint16(NO_CLASS), classes)
        return visit_rates(
            scores,
            strength=strength,
            first_mean=self._first_mean,
            classes=classes,
            class_floor=self._config.class_floor,
            keep=min(1.0, max(1, visits) / max(1, len(shown))),
            # An index below 0 is refused by whoever chooses.
            shows=np.bincount(np.maximum(shown, 0), minlength=len(memory)),
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed job needs to go on as it would have."""
        return {"keep": self.keep, "visits": self._visits, "first_mean": self._first_mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave. Raises KeyError for another version's."""
        self.keep = float(state["keep"])
        self._visits, self._first_mean = state["visits"], state["first_mean"]

    def _affordable(self, memory: ScoreMemory, readable: bool) -> float:
        """The share that all ranks can do with: their epochs have to be of one length."""
        percent = 100
        if readable and self._visits >= VISITS_AUTO:
            percent = round(100 * affordable_share(memory.scores))
        (minus_most,) = lowest_of_all_ranks([-percent])
        return -minus_most / 100
