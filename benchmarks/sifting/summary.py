"""What the runs of a workload come to: means by arm, savings at equal accuracy, who was better."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.sifting.arms import OURS, PEERS, Arm, arm
from benchmarks.sifting.frontier import Frontier, Point, along
from benchmarks.sifting.workloads import Metric

FORWARD, TRAINING = 1, 3
"""The cost of a sample in forward passes: when it is scored, and when it is trained on."""

SHORTENED = "plain, shortened"
"""What a comparison calls plain training of the same cost."""


@dataclass(frozen=True)
class Summary:
    """One arm's means over its seeds. Times are seconds; `score` has the metric's own unit."""

    arm: Arm
    runs: int
    score: float
    deviation: float
    worst_class: float | None
    samples: float
    forwards: float
    """Forward-equivalents: one for a scored sample, three for one that was trained on."""

    loaded: float
    seconds: float
    cpu_seconds: float
    tiers: tuple[str, ...]
    """What the runtime did by its receipts, where it took part."""

    @property
    def error(self) -> float:
        """The standard error of `score`."""
        return self.deviation / math.sqrt(self.runs)


@dataclass(frozen=True)
class Comparison:
    """One of our arms beside the plain frontier or a peer, at the other's or at less cost.

    `lead` is in the metric's unit, more is better for us; `error` is the standard error of it.
    """

    ours: str
    other: str
    lead: float
    error: float
    costs_as_full: bool = False
    """Whether the peer costs no less than full training, which is what it then stands beside."""

    @property
    def holds(self) -> bool:
        """Whether ours is no worse beyond one standard error."""
        return self.lead >= -self.error


def summarize(name: str, runs: Sequence[Mapping[str, Any]], metric: Metric) -> Summary:
    """The means of one arm's runs."""

    def mean(key: str) -> float:
        return statistics.mean(float(run[key]) for run in runs)

    scores = [metric.scale * run["metric"] for run in runs]
    return Summary(
        arm(name),
        len(runs),
        statistics.mean(scores),
        statistics.stdev(scores) if len(scores) > 1 else 0.0,
        100 * mean("worst_class") if "worst_class" in runs[0] else None,
        mean("samples"),
        FORWARD * mean("scored") + TRAINING * mean("samples"),
        mean("loaded"),
        mean("seconds"),
        mean("cpu_seconds"),
        tuple(sorted({run["receipt"]["tier"] for run in runs if "receipt" in run})),
    )


@dataclass(frozen=True)
class Saving:
    """A share of the cost; `at_least` where no plain training was as good as ours."""

    share: float
    at_least: bool


@dataclass(frozen=True)
class Table:
    """All arms of one workload.

    `cost` says which of a summary's numbers the comparisons go by: seconds, CPU seconds or
    forward-equivalents.
    """

    arms: Sequence[Summary]
    better: int
    cost: Callable[[Summary], float]

    def get(self, name: str) -> Summary | None:
        """The arm of that name, if it was measured."""
        return next((each for each in self.arms if each.arm.name == name), None)

    def frontier(self, *families: str) -> Frontier:
        """The best of some families at each cost; full training belongs to each."""
        chosen = [each for each in self.arms if each.arm.family in (*families, "full")]
        return Frontier(self.point(each) for each in chosen)

    def point(self, summary: Summary) -> Point:
        """Where an arm stands, so that more is better."""
        return Point(self.cost(summary), self.better * summary.score, summary.error)

    def saved(self, summary: Summary) -> Saving | None:
        """The saving against plain training that is as good, shortened where that is enough; None
        where even the shortest plain training is better."""
        plain = self.frontier("shortened")
        cost = plain.cost_of(self.point(summary).score)
        if cost is None:
            return None
        at_least = math.isinf(cost)
        return Saving(
            1 - self.cost(summary) / (plain.points[-1].cost if at_least else cost), at_least
        )

    def as_good_as_full(self, families: Collection[str], tolerance: float) -> Summary | None:
        """The cheapest arm of some families, cheaper than full training, whose result is no more
        than `tolerance` worse; None if there is none."""
        full = self.get("full")
        if full is None:
            return None
        least = self.point(full).score - tolerance
        good = [
            each
            for each in self.arms
            if each.arm.family in families
            and self.point(each).score >= least
            and self.cost(each) < self.cost(full)
        ]
        return min(good, key=self.cost, default=None)

    def comparisons(self) -> list[Comparison]:
        """Ours beside plain training of the same cost, then each of our families, with full
        training as its end, beside each peer at the peer's cost."""
        full = self.get("full")
        plain = [self.point(each) for each in self.arms if each.arm.family in ("shortened", "full")]
        ours = [each for each in self.arms if each.arm.family in OURS]
        found = [
            _compare(each.arm.name, SHORTENED, self.point(each), along(plain, self.cost(each)))
            for each in (ours if plain else ())
        ]
        for family in sorted({each.arm.family for each in ours}, key=OURS.index):
            reached = self.frontier(family)
            for peer in self.arms:
                if peer.arm.family in PEERS:
                    at = reached.at(self.cost(peer))
                    dear = full is not None and self.cost(peer) >= self.cost(full)
                    found.append(_compare(family, peer.arm.name, at, self.point(peer), dear))
        return [each for each in found if each is not None]


def _compare(
    ours: str, other: str, mine: Point | None, theirs: Point | None, costs_as_full: bool = False
) -> Comparison | None:
    if mine is None or theirs is None:
        return None
    error = math.hypot(mine.error, theirs.error)
    return Comparison(ours, other, mine.score - theirs.score, error, costs_as_full)
