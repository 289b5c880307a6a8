"""The accuracy that a way to train reaches in a given time, between what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Point:
    """What one arm came to: its cost, and the mean and standard error of a score of which more is
    better."""

    cost: float
    score: float
    error: float = 0.0


def along(points: Iterable[Point], cost: float) -> Point:
    """What is reached at that cost on straight lines from point to point, those included that do
    worse than cheaper ones; beyond the first and the last it is as they are.

    Raises:
        ValueError: there are no points.
    """
    line = sorted(points, key=lambda each: each.cost)
    if not line:
        raise ValueError("no points to go along")
    if cost <= line[0].cost:
        return line[0]
    for low, high in pairwise(line):
        if cost <= high.cost:
            return _between(low, high, (cost - low.cost) / (high.cost - low.cost))
    return line[-1]


class Frontier:
    """The best that a family of arms reaches at each cost: straight lines between its points.

    A point that costs more than another and scores less is none of it: nobody would choose it.
    """

    def __init__(self, points: Iterable[Point]) -> None:
        self.points: list[Point] = []
        for point in sorted(points, key=lambda each: (each.cost, -each.score)):
            if not self.points or point.score > self.points[-1].score:
                self.points.append(point)

    def at(self, cost: float) -> Point | None:
        """What is reached at that cost; its best beyond its end, None before its beginning."""
        if not self.points or cost < self.points[0].cost:
            return None
        return along(self.points, cost)

    def cost_of(self, score: float) -> float | None:
        """The least cost of that score; infinite where it is never reached, None where every
        point is better, so that nobody knows how little would do."""
        if not self.points or score < self.points[0].score:
            return None
        for low, high in pairwise(self.points):
            if score <= high.score:
                share = (score - low.score) / (high.score - low.score)
                return _between(low, high, share).cost
        return self.points[-1].cost if score <= self.points[-1].score else math.inf


def _between(low: Point, high: Point, share: float) -> Point:
    def mix(a: float, b: float) -> float:
        return a + share * (b - a)

    return Point(mix(low.cost, high.cost), mix(low.score, high.score), mix(low.error, high.error))
