"""The most that a job can cost, and how that is said."""

from __future__ import annotations

import pytest

from sift_launcher.cloud.cost_limit import CostLimit, cost_limit, in_hours
from sift_launcher.cloud.facts import Prices

PRICES = Prices(1.5, 0.5)


def test_a_requests_limit_is_read_from_it():
    request = {
        "ResourceConfig": {
            "InstanceType": "ml.g5.xlarge",
            "InstanceCount": 2,
            "KeepAlivePeriodInSeconds": 600,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 9000},
        "EnableManagedSpotTraining": True,
    }
    assert cost_limit(request, PRICES) == CostLimit(PRICES, "ml.g5.xlarge", 2, 7200, 600, True)


@pytest.mark.parametrize(
    ("limit", "dollars", "formula"),
    [
        (CostLimit(PRICES, "ml.g5.xlarge", 2, 7200), 6.0, "$1.5/h x 2 x 2 h"),
        (CostLimit(PRICES, "ml.g5.xlarge", 1, 1800), 0.75, "$1.5/h x 1 x 30 min"),
        (
            CostLimit(Prices(37.688), "ml.p4d.24xlarge", 1, 3600, 1800),
            56.532,
            "$37.69/h x 1 x (1 h + 30 min kept alive)",
        ),
    ],
)
def test_the_formula_is_shown_with_what_comes_of_it(limit: CostLimit, dollars: float, formula: str):
    assert limit.dollars == pytest.approx(dollars)
    assert limit.formula == formula


@pytest.mark.parametrize(
    ("limit", "budget", "seconds"),
    [
        (CostLimit(PRICES, "m", 1, 7200), 1.5, 3600),
        (CostLimit(PRICES, "m", 4, 7200), 1.5, 900),
        (CostLimit(PRICES, "m", 1, 7200, 600), 1.5, 3000),
        (CostLimit(PRICES, "m", 1, 7200, 3600), 1.0, -1200),
        (CostLimit(Prices(1.408), "m", 1, 86400), 1.0, 2556),
    ],
)
def test_the_longest_run_within_a_budget_costs_no_more_than_that(
    limit: CostLimit, budget: float, seconds: int
):
    assert limit.longest_run_seconds(budget) == seconds


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(86400, "24 h"), (5400, "1.5 h"), (3600, "1 h"), (90, "1.5 min"), (45, "45 s")],
)
def test_times_are_told_in_what_a_reader_counts_in(seconds: int, told: str):
    assert in_hours(seconds) == told
