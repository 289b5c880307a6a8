"""What plain training reaches in a given time, between the lengths that were measured."""

from __future__ import annotations

import math

import pytest

from benchmarks.sifting.frontier import Frontier, Point, along

PLAIN = Frontier([Point(100, 90.0, 0.2), Point(30, 80.0, 0.6), Point(50, 86.0, 0.4)])


@pytest.mark.parametrize(
    ("cost", "score", "error"), [(30, 80, 0.6), (40, 83, 0.5), (75, 88, 0.3), (100, 90, 0.2)]
)
def test_between_two_points_score_and_error_lie_on_a_straight_line(cost, score, error):
    assert PLAIN.at(cost) == Point(cost, pytest.approx(score), pytest.approx(error))


def test_nothing_is_known_before_the_cheapest_point():
    assert PLAIN.at(29.9) is None
    assert PLAIN.cost_of(79.9) is None


def test_more_time_than_was_measured_buys_nothing_more():
    assert PLAIN.at(500) == Point(100, 90.0, 0.2)
    assert PLAIN.cost_of(90.1) == math.inf


@pytest.mark.parametrize(("score", "cost"), [(80, 30), (83, 40), (88, 75), (90, 100)])
def test_the_cost_of_a_score_is_the_least_that_reaches_it(score, cost):
    assert PLAIN.cost_of(score) == pytest.approx(cost)


def test_a_point_that_costs_more_and_scores_less_is_left_out():
    noisy = Frontier([Point(30, 80.0), Point(70, 88.0), Point(100, 85.0)])
    assert noisy.at(100) == Point(70, 88.0)
    assert noisy.cost_of(85) == pytest.approx(30 + 40 * 5 / 8)


@pytest.mark.parametrize(("cost", "score"), [(10, 80), (50, 84), (85, 86.5), (200, 85)])
def test_along_a_line_a_dear_point_stands_for_itself_however_it_does(cost, score):
    noisy = [Point(100, 85.0), Point(30, 80.0), Point(70, 88.0)]
    assert along(noisy, cost).score == pytest.approx(score)


def test_there_is_no_line_without_points():
    with pytest.raises(ValueError, match="no points"):
        along([], 1)
