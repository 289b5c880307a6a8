"""The length of a sifted epoch, and the quota that ends on it."""

from __future__ import annotations

from itertools import product

import pytest

from smart_sifting.epoch_plan import EpochPlan, Quota

# samples, batch size, keep, drop_last, delay -> samples kept, batches
PLANS = [
    (100, 10, 0.5, False, 0, 50, 5),
    (100, 10, 0.55, False, 0, 55, 6),
    (100, 10, 0.55, True, 0, 50, 5),
    (101, 10, 0.5, False, 0, 51, 6),  # 50.5 rounds up
    (101, 10, 0.5, True, 0, 50, 5),
    (1437, 32, 0.5, False, 0, 719, 23),
    (100, 10, 0.5, False, 3, 65, 7),
    (100, 10, 0.5, True, 3, 60, 6),
    (95, 10, 0.5, False, 9, 93, 10),
    (95, 10, 0.5, False, 99, 95, 10),
    (100, 10, 1.0, False, 0, 100, 10),
    (95, 10, 1.0, False, 0, 95, 10),
    (100, 10, 0.001, False, 0, 1, 1),  # an epoch without a batch would break a script
    (100, 10, 0.001, True, 0, 10, 1),
    (5, 10, 0.5, False, 0, 3, 1),
    (0, 10, 0.5, False, 0, 0, 0),
    (0, 10, 0.5, True, 0, 0, 0),
]


@pytest.mark.parametrize(
    ("samples", "batch_size", "keep", "drop_last", "delay", "kept", "batches"), PLANS
)
def test_an_epoch_has_the_samples_and_batches_that_were_asked_for(
    samples, batch_size, keep, drop_last, delay, kept, batches
):
    plan = EpochPlan(samples, batch_size, keep, drop_last, delay)
    assert (plan.kept, plan.batches) == (kept, batches)


MANY = list(product((1, 7, 64, 100, 1000, 1437), (1, 7, 10, 32), (0.01, 0.25, 1 / 3, 0.5, 0.9)))


@pytest.mark.parametrize("window", [1, 5, 64, 333])
def test_windows_add_up_to_the_plan_and_none_is_a_sample_off_its_share(window):
    for samples, batch_size, keep in MANY:
        plan = EpochPlan(samples, batch_size, keep)
        quota, seen = Quota(keep, plan), 0
        while seen < samples:
            size = min(window, samples - seen)
            grant = quota.grant(size)
            assert abs(grant - plan.kept * size / samples) < 1, (plan, window)
            quota.spend(size, grant)
            seen += size
        assert quota.kept == plan.kept, (plan, window)
        assert quota.room() == 0


@pytest.mark.parametrize("untouched", [10, 30, 50])
def test_what_was_given_whole_is_made_up_for_by_what_follows(untouched):
    quota = Quota(0.5, EpochPlan(100, 10, 0.5))
    quota.untouched(untouched)
    grants = []
    for _ in range((100 - untouched) // 10):
        grants.append(quota.grant(10))
        quota.spend(10, grants[-1])
    assert quota.kept == 50
    assert max(grants) - min(grants) <= 1


def test_windows_after_untouched_samples_share_what_is_left_evenly():
    quota = Quota(0.5, EpochPlan(100, 10, 0.5))
    quota.untouched(20)
    assert quota.grant(40) == 15
    assert quota.grant(80) == 30


def test_a_window_that_kept_too_many_is_paid_for_by_the_next_ones():
    quota = Quota(0.5, EpochPlan(100, 10, 0.5))
    quota.spend(20, 20)
    assert quota.grant(20) == 0
    assert quota.grant(40) == 10
    assert quota.room() == 30


def test_an_epoch_that_has_kept_all_it_may_grants_nothing_more():
    quota = Quota(0.5, EpochPlan(100, 10, 0.5))
    quota.untouched(60)
    assert (quota.grant(40), quota.room()) == (0, 0)


def test_data_beyond_what_the_loader_told_gets_no_more_than_the_plan():
    quota = Quota(0.5, EpochPlan(100, 10, 0.5))
    quota.spend(100, 50)
    assert quota.grant(100) == 0


def test_without_a_plan_the_share_holds_from_where_sifting_starts():
    quota = Quota(0.25)
    quota.untouched(100)
    grants = []
    for _ in range(4):
        grants.append(quota.grant(10))
        quota.spend(10, grants[-1])
    assert grants == [3, 2, 3, 2]
    assert quota.room() is None
