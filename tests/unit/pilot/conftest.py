from __future__ import annotations

from collections.abc import Callable

import pytest

from sift_launcher.pilot.arms import Arm
from sift_launcher.pilot.results import Measurement, Result

TIERS = {"plain": "memory", "sifted": "memory", "even": "batch"}


@pytest.fixture
def result() -> Callable[..., Result]:
    """An arm by its kind and share, its seconds, and the metric of every run."""

    def make(kind: str, keep: float, seconds: float, *metrics: float, **more: object) -> Result:
        samples = more.get("samples", round(1000 * keep))
        tier, reason = more.get("tier", TIERS[kind]), more.get("reason", "verified")
        return Result(
            Arm(kind, keep),
            tuple(
                Measurement("job", samples, seconds, seconds + 1, metric, "a line", tier, reason)
                for metric in metrics
            ),
        )

    return make
