"""The most that a job in SageMaker can cost. Pure.

Instances are billed by the second, from the download of the image to the end of the upload of the
outputs; `MaxRuntimeInSeconds` bounds all of a job's attempts together, and a spot job's training
too, however long it waits. Instances that are kept alive are billed as those that train. What the
storage of data and volumes costs is not in it. Source: the API reference of StoppingCondition, and
https://aws.amazon.com/sagemaker/pricing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sift_launcher.cloud.facts import Prices


@dataclass(frozen=True)
class CostLimit:
    """Prices times hosts times seconds."""

    prices: Prices
    instance: str
    count: int
    run_seconds: int
    keep_alive_seconds: int = 0
    is_spot: bool = False

    @property
    def dollars(self) -> float:
        """The most; of a spot job too, whose price is never above the other."""
        return self._cost(self.prices.on_demand)

    @property
    def spot_dollars(self) -> float | None:
        """What a spot job is likely to cost at most; None for others, and where nobody knows."""
        if not self.is_spot or self.prices.spot_estimate is None:
            return None
        return self._cost(self.prices.spot_estimate)

    @property
    def formula(self) -> str:
        """How `dollars` comes about, for a reader."""
        time = in_hours(self.run_seconds)
        if self.keep_alive_seconds:
            time = f"({time} + {in_hours(self.keep_alive_seconds)} kept alive)"
        return f"${self.prices.on_demand:.4g}/h x {self.count} x {time}"

    def longest_run_seconds(self, budget_dollars: float) -> int:
        """How long the job could run within `budget_dollars`; 0 or less when not at all."""
        hourly = self.prices.on_demand * self.count
        return math.floor(budget_dollars / hourly * 3600) - self.keep_alive_seconds

    def _cost(self, price: float) -> float:
        return price * self.count * (self.run_seconds + self.keep_alive_seconds) / 3600


def cost_limit(request: Mapping[str, Any], prices: Prices) -> CostLimit:
    """That of the job of a CreateTrainingJob `request`."""
    resources = request["ResourceConfig"]
    return CostLimit(
        prices,
        resources["InstanceType"],
        resources["InstanceCount"],
        request["StoppingCondition"]["MaxRuntimeInSeconds"],
        resources.get("KeepAlivePeriodInSeconds", 0),
        request.get("EnableManagedSpotTraining", False),
    )


def in_hours(seconds: int) -> str:
    """`24 h`, `1.5 h`, `10 min`, `45 s`."""
    if seconds >= 3600:
        return f"{seconds / 3600:.4g} h"
    return f"{seconds / 60:.3g} min" if seconds >= 60 else f"{seconds} s"
