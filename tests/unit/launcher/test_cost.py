from __future__ import annotations

from typing import Any

import pytest
from played_sagemaker import entry

from sift_launcher.cost import Cost, cost_of

HOUR = 3600.0


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({"BillableTimeInSeconds": 1800, "TrainingTimeInSeconds": 3600}, "$1.00"),
        ({"TrainingStartTime": HOUR}, "~$4.00"),
        ({"TrainingStartTime": HOUR, "TrainingEndTime": 2 * HOUR}, "~$2.00"),
        ({}, "~$6.00"),
        ({"SecondaryStatusTransitions": []}, "~$0.00"),
    ],
    ids=["billed", "running", "ended", "of a list", "not training yet"],
)
def test_two_instances_at_a_dollar_an_hour_after_three(status: dict[str, Any], told: str):
    job = entry(count=2, dollars_per_hour=1.0)
    assert str(cost_of(job, {"CreationTime": 0.0} | status, 3 * HOUR)) == told


def test_without_a_price_nothing_is_made_up():
    assert cost_of(entry(), {"CreationTime": 0.0}, HOUR) is None


def test_a_rehearsal_costs_nothing():
    job = entry(dollars_per_hour=1.0, is_rehearsal=True)
    assert cost_of(job, {"CreationTime": 0.0, "BillableTimeInSeconds": 60}, HOUR) == Cost(0.0)
