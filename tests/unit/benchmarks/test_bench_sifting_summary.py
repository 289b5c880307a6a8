"""Means, savings at equal accuracy, and who was better, from runs with numbers made up."""

from __future__ import annotations

from operator import attrgetter

import pytest

from benchmarks.sifting.summary import Comparison, Saving, Summary, Table, summarize
from benchmarks.sifting.workloads import ACCURACY, BITS


def runs(*metrics: float, cpu_seconds: float = 100, **more: object) -> list[dict[str, object]]:
    numbers = {"samples": 1000, "scored": 600, "loaded": 1200, "seconds": 120, **more}
    return [{"metric": each, "cpu_seconds": cpu_seconds, **numbers} for each in metrics]


def table(better: int = 1, **arms: list[dict[str, object]]) -> Table:
    metric = ACCURACY if better > 0 else BITS
    found = [summarize(name.replace("_", "-"), each, metric) for name, each in arms.items()]
    return Table(found, better, attrgetter("cpu_seconds"))


PLAIN = {
    "full": runs(0.90, 0.92, cpu_seconds=100),
    "shortened-0.5": runs(0.84, 0.86, cpu_seconds=50),
}


def only(summaries: Table, name: str) -> Summary:
    found = summaries.get(name)
    assert found is not None
    return found


def test_an_arm_is_its_mean_its_deviation_and_its_cost():
    found = summarize("memory-0.5", runs(0.89, 0.91, 0.93, worst_class=0.75), ACCURACY)
    assert found.score == pytest.approx(91)
    assert found.deviation == pytest.approx(2)
    assert found.error == pytest.approx(2 / 3**0.5)
    assert found.worst_class == pytest.approx(75)
    assert found.forwards == 3 * 1000 + 600
    assert (found.samples, found.loaded, found.seconds) == (1000, 1200, 120)


def test_one_seed_has_no_deviation_and_a_text_no_worst_class():
    found = summarize("full", runs(1.5), BITS)
    assert (found.score, found.deviation, found.worst_class) == (1.5, 0, None)


def test_receipts_say_which_tiers_were_really_used():
    forward = {"tier": "forward"}
    mixed = [*runs(0.9, receipt=forward), *runs(0.9, receipt={"tier": "memory"})]
    assert summarize("memory-0.5", mixed, ACCURACY).tiers == ("forward", "memory")


def test_the_saving_is_against_plain_training_that_is_as_good():
    arms = table(**PLAIN, **{"memory-0.5": runs(0.88, cpu_seconds=60)})
    # Plain training reaches 88 % halfway from (50 s, 85 %) to (100 s, 91 %), at 75 s.
    assert arms.saved(only(arms, "memory-0.5")) == Saving(pytest.approx(1 - 60 / 75), False)


def test_better_than_all_plain_training_saves_at_least_what_full_training_costs_more():
    arms = table(**PLAIN, **{"memory-0.5": runs(0.915, cpu_seconds=60)})
    assert arms.saved(only(arms, "memory-0.5")) == Saving(pytest.approx(0.4), True)


def test_worse_than_the_shortest_plain_training_has_no_saving():
    arms = table(**PLAIN, **{"memory-0.5": runs(0.80, cpu_seconds=60)})
    assert arms.saved(only(arms, "memory-0.5")) is None


def test_bits_per_byte_are_better_the_fewer_they_are():
    arms = table(
        better=-1,
        **{"full": runs(2.0), "shortened-0.5": runs(2.4, cpu_seconds=50)},
        **{"memory-0.5": runs(2.1, cpu_seconds=60)},
    )
    assert arms.saved(only(arms, "memory-0.5")) == Saving(pytest.approx(1 - 60 / 87.5), False)
    (beside_plain,) = arms.comparisons()
    assert beside_plain.lead == pytest.approx(0.22)


def test_ours_stands_beside_plain_training_of_the_same_cost_and_each_peer():
    arms = table(
        **PLAIN,
        **{"aws-0.5": runs(0.86, cpu_seconds=80), "memory-0.5": runs(0.89, cpu_seconds=60)},
    )
    plain, peer = arms.comparisons()
    assert (plain.ours, plain.other) == ("memory-0.5", "plain, shortened")
    assert plain.lead == pytest.approx(89 - 86.2)
    # At 80 s ours is halfway from 89 % (60 s) to full training's 91 % (100 s).
    assert (peer.ours, peer.other, peer.costs_as_full) == ("memory", "aws-0.5", False)
    assert peer.lead == pytest.approx(90 - 86)


def test_a_peer_as_dear_as_full_training_stands_beside_that():
    arms = table(
        **PLAIN,
        **{"infobatch": runs(0.90, cpu_seconds=110), "memory-0.5": runs(0.89, cpu_seconds=60)},
    )
    peer = arms.comparisons()[-1]
    assert peer.costs_as_full
    assert peer.lead == pytest.approx(1)


@pytest.mark.parametrize(("lead", "holds"), [(0.1, True), (-0.3, True), (-0.31, False)])
def test_a_comparison_holds_within_one_standard_error(lead, holds):
    assert Comparison("memory-0.5", "plain, shortened", lead, 0.3).holds is holds
