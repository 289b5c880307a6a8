"""Which samples are kept, and how often."""

from __future__ import annotations

import pytest
import torch
from torch import tensor

from smart_sifting.acceptance import (
    ExactQuota,
    LossHistory,
    PreferredQuota,
    Probabilistic,
    acceptance,
)

NAN, INF = float("nan"), float("inf")


def test_a_percentile_is_the_share_of_the_history_below_with_ties_counted_half():
    history = LossHistory(10)
    history.add(tensor([1.0, 2.0, 2.0, 4.0]))
    losses = tensor([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    assert history.percentiles(losses).tolist() == [0.0, 0.125, 0.5, 0.75, 0.875, 1.0]


@pytest.mark.parametrize("rule", ["quota", "probabilistic"])
def test_what_a_script_has_made_the_default_device_is_not_asked(rule):
    with torch.device("meta"):
        chosen = acceptance(rule, 0.5, 10, 0)
        kept = chosen.choose(torch.tensor([1.0, 2.0, 3.0, 4.0], device="cpu"), 2, None)
    assert len(kept) == 2


def test_before_any_loss_everything_is_hard():
    assert LossHistory(10).percentiles(tensor([1.0, -3.0])).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("sizes", [[1] * 12, [5, 4, 3], [12], [2, 30]])
def test_the_history_never_grows_beyond_its_length_and_forgets_the_oldest(sizes):
    history = LossHistory(4)
    stored = history.state_dict()["losses"].numel()
    losses = torch.arange(float(sum(sizes)))
    for part in losses.split(sizes):
        history.add(part)
        assert len(history) <= 4
    assert history.state_dict()["losses"].numel() == stored == 4
    assert sorted(history.state_dict()["losses"].tolist()) == losses[-4:].tolist()


def test_the_history_remembers_no_more_precisely_than_float64_and_no_less():
    history = LossHistory(2)
    history.add(tensor([1.0, 1.0 + 2**-40], dtype=torch.float64))
    assert history.percentiles(tensor([1.0], dtype=torch.float64)).tolist() == [0.25]


@pytest.mark.parametrize("grant", [0, 1, 17, 64])
def test_a_quota_is_kept_exactly_in_the_order_of_the_rows(grant):
    rule = ExactQuota(1.0, 500, seed=0)
    for step in range(20):
        rows = rule.choose(torch.rand(64, generator=seeded(step)), grant, None).tolist()
        assert len(rows) == grant
        assert rows == sorted(set(rows))


def test_losses_without_a_number_come_first_and_cost_the_others_their_places():
    rule = ExactQuota(1.0, 500, seed=0)
    losses = tensor([9.0, NAN, 9.0, INF, 9.0, -INF])
    assert rule.choose(losses, 3, 100).tolist() == [1, 3, 5]
    # Also before those that rank above all that is remembered.
    rule = ExactQuota(1.0, 5, seed=0)
    losses = tensor([9.0] * 20 + [NAN] * 3 + [0.0] * 5)
    assert rule.choose(losses, 3, 100).tolist() == [20, 21, 22]


def test_losses_without_a_number_exceed_a_windows_quota_but_never_the_epochs():
    rule = ExactQuota(1.0, 500, seed=0)
    losses = torch.full((8,), NAN)
    assert len(rule.choose(losses, 4, 100)) == 8
    assert len(rule.choose(losses, 4, None)) == 8
    assert len(rule.choose(losses, 4, 6)) == 6
    assert len(rule.choose(losses, 4, 0)) == 0


@pytest.mark.parametrize("name", ["quota", "probabilistic"])
def test_losses_without_a_number_do_not_enter_the_history(name):
    rule = acceptance(name, 1.0, 500, seed=0)
    rule.choose(tensor([NAN, 1.0, INF]), 1, None)
    assert rule.state_dict()["history"]["count"] == 1


def test_the_probabilistic_rule_keeps_every_loss_without_a_number():
    rule = Probabilistic(50.0, 500, seed=0)
    rule.choose(torch.arange(500.0), 0, None)
    assert rule.choose(tensor([-1.0, NAN, -1.0, INF]), 0, 0).tolist() == [1, 3]


@pytest.mark.parametrize(("beta", "share"), [(0.5, 2 / 3), (1.0, 0.5), (3.0, 0.25)])
def test_the_probabilistic_rule_keeps_one_in_one_plus_beta_of_stationary_losses(beta, share):
    rule = Probabilistic(beta, 500, seed=1)
    losses = torch.rand(40_000, generator=seeded(2), dtype=torch.float64)
    kept = sum(len(rule.choose(window, 0, None)) for window in losses.split(100))
    # Four standard deviations of 40,000 coins are at most 0.01.
    assert kept / 40_000 == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(("beta", "share"), [(0.5, 2 / 3), (1.0, 0.5), (3.0, 0.25)])
@pytest.mark.parametrize("name", ["quota", "probabilistic"])
def test_a_sample_is_kept_with_its_percentile_to_the_power_beta(name, beta, share):
    rule = acceptance(name, beta, 1000, seed=3)
    window, rounds = 100, 800
    rule.choose((torch.arange(1000.0) + 0.5) / 1000, 500, None)
    losses = (torch.arange(float(window)) + 0.5) / window
    kept = torch.zeros(window)
    for round_ in range(rounds):
        order = torch.randperm(window, generator=seeded(round_))
        chosen = order[rule.choose(losses[order], round(window * share), None)]
        kept[chosen] += 1
    for tenth in range(0, window, 10):
        expected = float(losses[tenth : tenth + 10].pow(beta).mean())
        assert float(kept[tenth : tenth + 10].mean() / rounds) == pytest.approx(expected, abs=0.025)


def test_equal_losses_are_kept_equally_often_wherever_they_stand():
    rule = ExactQuota(1.0, 500, seed=4)
    kept = torch.zeros(20)
    for _ in range(2000):
        kept[rule.choose(torch.ones(20), 10, None)] += 1
    assert (kept / 2000).tolist() == pytest.approx([0.5] * 20, abs=0.045)


def test_losses_above_the_whole_history_are_kept_wherever_they_stand():
    # A window longer than the history forgets its own first losses: these rank above everything.
    rule = ExactQuota(1.0, 5, seed=5)
    losses = torch.cat([torch.full((20,), 9.0), torch.zeros(5)])
    kept = torch.zeros(25)
    for _ in range(1000):
        kept[rule.choose(losses, 10, None)] += 1
    assert (kept[:20] / 1000).tolist() == pytest.approx([0.5] * 20, abs=0.07)


@pytest.mark.parametrize("name", ["quota", "probabilistic"])
def test_the_same_seed_keeps_the_same_samples_and_another_seed_others(name):
    def rows(seed: int) -> list[int]:
        rule = acceptance(name, 1.0, 500, seed)
        return rule.choose(torch.rand(100, generator=seeded(0)), 50, None).tolist()

    assert rows(7) == rows(7)
    assert rows(7) != rows(8)


@pytest.mark.parametrize("name", ["quota", "probabilistic"])
def test_drawing_leaves_the_scripts_own_generator_alone(name):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    acceptance(name, 1.0, 500, seed=1).choose(torch.rand(9, generator=seeded(0)), 3, None)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["quota", "probabilistic"])
def test_a_loaded_state_goes_on_with_the_same_draws(name):
    rule = acceptance(name, 1.0, 50, seed=1)
    for step in range(3):
        rule.choose(torch.rand(40, generator=seeded(step)), 20, None)
    state = rule.state_dict()
    fresh = acceptance(name, 1.0, 50, seed=999)
    fresh.load_state_dict(state)
    for step in range(3, 6):
        losses = torch.rand(40, generator=seeded(step))
        assert fresh.choose(losses, 20, None).tolist() == rule.choose(losses, 20, None).tolist()


def test_a_saved_state_does_not_change_with_the_rule_that_gave_it():
    rule = acceptance("quota", 1.0, 50, seed=1)
    rule.choose(torch.ones(40), 20, None)
    state = rule.state_dict()
    rule.choose(torch.zeros(40), 20, None)
    assert state["history"]["losses"][:40].tolist() == [1.0] * 40


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def visits(rule: PreferredQuota, losses: torch.Tensor, windows: int) -> torch.Tensor:
    """How often each of the samples was kept, where half of each window is."""
    kept = torch.zeros(len(losses))
    for _ in range(windows):
        rows = rule.choose(losses, len(losses) // 2, None)
        assert len(rows) == len(losses) // 2
        kept[rows] += 1
    return kept


# Learned, undecided, confidently wrong; their mean is 1, so that 0.5 is preferred.
THREE_KINDS = tensor([0.001] * 20 + [0.5] * 20 + [2.499] * 20)


def test_what_the_model_is_undecided_about_is_kept_more_often():
    kept = visits(PreferredQuota(500, seed=0), THREE_KINDS, 200)
    learned, undecided, wrong = kept.view(3, 20).mean(1).tolist()
    assert undecided > 140
    assert learned < 60
    assert 60 < wrong < 120


def test_the_preference_ends_with_the_visits_that_samples_have_had():
    rule = PreferredQuota(500, seed=0)
    visits(rule, THREE_KINDS, 5)
    rule.settle(8)
    kept = visits(rule, THREE_KINDS, 400).view(3, 20).mean(1)
    assert kept.tolist() == pytest.approx([200, 200, 200], abs=15)


def test_the_first_epochs_losses_say_for_good_which_are_high():
    early, late = PreferredQuota(500, seed=0), PreferredQuota(500, seed=0)
    early.settle(0)  # a pass that was left at once
    visits(early, THREE_KINDS * 4, 5)
    early.settle(1)
    of_early = visits(early, THREE_KINDS, 200).view(3, 20).mean(1)
    of_late = visits(late, THREE_KINDS, 200).view(3, 20).mean(1)
    # Where losses were four times as high in the beginning, 2.499 is not suspect yet.
    assert of_early[2] > of_late[2] + 30


def test_a_preferred_quota_goes_on_where_it_was_saved():
    rule, other = PreferredQuota(500, seed=0), PreferredQuota(500, seed=1)
    visits(rule, THREE_KINDS * 4, 3)
    rule.settle(5)
    other.load_state_dict(rule.state_dict())
    for _ in range(5):
        assert torch.equal(other.choose(THREE_KINDS, 30, None), rule.choose(THREE_KINDS, 30, None))


def test_a_preferred_quota_keeps_losses_without_a_number_first():
    losses = tensor([0.5, NAN, 0.5, INF, 0.5, -INF])
    assert PreferredQuota(500, seed=0).choose(losses, 3, 100).tolist() == [1, 3, 5]
