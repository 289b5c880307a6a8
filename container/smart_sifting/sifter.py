"""What forward scoring remembers from one epoch to the next."""

from __future__ import annotations

from typing import Any

import torch

from smart_sifting import batches as batch_ops
from smart_sifting.acceptance import Acceptance, acceptance
from smart_sifting.data_model.data_model_interface import SiftingBatchTransform
from smart_sifting.epoch_plan import EpochPlan, Shape, planned_epoch
from smart_sifting.guard import Guard
from smart_sifting.memory.preference import strength_after
from smart_sifting.meter import Meter
from smart_sifting.scoring import EvenScorer, Scorer
from smart_sifting.scoring_cost import WindowScorer
from smart_sifting.sift_config.job_config import SiftConfig


class Sifter:
    """What outlives an epoch: the loss history, the generator, carried samples and the delay.

    Args:
        config: how much to keep and by which rule.
        score: gives each sample its loss.
        rule: chooses by them; by default as the configuration says.
        transform: makes batches indexable, where the structure alone does not.
        dim: how to read the batches, see `smart_sifting.batches`; None finds out.
        meter: where it counts.
    """

    kind = "window"

    def __init__(
        self,
        config: SiftConfig,
        score: Scorer,
        *,
        rule: Acceptance | None = None,
        transform: SiftingBatchTransform | None = None,
        dim: int | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.config = config
        self.dim = dim
        self.meter = Meter() if meter is None else meter
        self.score = WindowScorer(score, dim, self.meter.clock, self.meter.say)
        self.unscored: str | None = None
        self._guard = Guard(config.keep, self.meter.clock)
        self.rule = rule or acceptance(
            config.acceptance, config.beta_value, config.loss_history_length, config.seed
        )
        self.steps = 0
        self._settled_steps = 0
        self._visits = 0.0
        self.carried: list[Any] = []
        self._transform = transform

    def plan(self, shape: Shape) -> EpochPlan | None:
        """The coming epoch, None when its length is not known or not fixed."""
        return planned_epoch(self.config, shape, self.delay())

    def delay(self) -> int:
        """Batches of the coming epoch that are given whole."""
        if self.config.repeat_delay_per_epoch:
            return self.config.sift_delay
        return max(0, self.config.sift_delay - self._settled_steps)

    def settle_epoch(self, visits: float) -> None:
        """An epoch has ended: the next one's plan counts its steps. Not before, for `len()` must
        not change in the middle of an epoch.

        Args:
            visits: how often it gave each of its samples, on average.
        """
        self._settled_steps = self.steps
        self._visits += visits
        self.rule.settle(self._visits)
        if strength_after(self._visits) == 0 and self._may_stop_scoring():
            self._keep_evenly(
                f"the model was trained on each sample {self._visits:.1f} times, and from there on "
                "the hardest are no better choice"
            )

    def heed_guard(self) -> None:
        """Keep the same share evenly from now on if scoring does not pay.

        Not under AWS's own rule, whose share follows from the losses, nor where the script asks
        torch for deterministic algorithms: what it keeps must not depend on a clock.
        """
        if not self._may_stop_scoring():
            return
        known = self._guard.input_bound
        why = self._guard.verdict(self.meter)
        if self._guard.input_bound not in (None, known):
            self.meter.tell(self._guard.input_bound)
        if why is not None and not torch.are_deterministic_algorithms_enabled():
            self._keep_evenly(why)

    def _may_stop_scoring(self) -> bool:
        scores = self.unscored is None and self.config.keep < 1
        return scores and self.config.acceptance != "probabilistic"

    def _keep_evenly(self, why: str) -> None:
        self._score_no_more(why)
        self.meter.tell(f"nothing is scored any more, the same share is kept evenly: {why}")

    def _score_no_more(self, why: str) -> None:
        self.unscored = why
        self.score = WindowScorer(EvenScorer())

    def transformed(self, batch: Any) -> Any:
        return batch if self._transform is None else self._transform.transform(batch)

    def restored(self, transformed: Any) -> Any:
        if self._transform is None:
            return transformed
        return self._transform.reverse_transform(transformed)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed job needs to go on with the same draws."""
        return {
            "rule": self.rule.state_dict(),
            "steps": self.steps,
            "carried": list(self.carried),
            "score": self.score.state_dict(),
            "unscored": self.unscored,
            "visits": self._visits,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.resume(state)
        self.meter.left_over += sum(batch_ops.batch_size(each, self.dim) for each in self.carried)

    def safe_state_dict(self) -> dict[str, Any]:
        """The state as nothing but data; carried samples that are more than that stay behind."""
        return {**self.state_dict(), "carried": [x for x in self.carried if _is_data(x)]}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a state whose samples the meter has counted already."""
        self.rule.load_state_dict(state["rule"])
        self.steps = self._settled_steps = int(state["steps"])
        self.carried = list(state["carried"])
        self.score.load_state_dict(state["score"])
        self._visits = float(state["visits"])
        if state["unscored"] is not None:
            self._score_no_more(state["unscored"])


def _is_data(value: Any) -> bool:
    """Whether torch loads it back with `weights_only`."""
    if type(value) in (list, tuple):
        return all(map(_is_data, value))
    if type(value) is dict:
        return all(map(_is_data, value)) and all(map(_is_data, value.values()))
    return value is None or type(value) in (torch.Tensor, bool, int, float, str)
