"""The page and the claims: what a reader sees of results that were made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.sifting.__main__ import command_of
from benchmarks.sifting.arms import DEFAULT
from benchmarks.sifting.page import claims, page
from benchmarks.sifting.report import result_of, write
from benchmarks.sifting.results import read_all
from benchmarks.sifting.workloads import WORKLOADS


def runs(metric: float, seconds: float, samples: int, tier: str | None = None) -> list[dict]:
    receipt = {"receipt": {"tier": tier}} if tier else {}
    return [
        {
            "seed": seed,
            "metric": metric + change,
            "worst_class": metric - 0.1,
            "samples": samples,
            "scored": 0,
            "loaded": samples,
            "seconds": 2 * seconds,
            "cpu_seconds": seconds,
            **receipt,
        }
        for seed, change in ((1, -0.01), (0, 0.01))
    ]


@pytest.fixture
def result() -> dict:
    arms = {
        "memory-0.5": runs(0.88, 60, 500, "forward"),
        "shortened-0.5": runs(0.84, 50, 500),
        "full": runs(0.90, 100, 1000),
    }
    missing = {"infobatch": "its source is not to be had"}
    return result_of("fashion", "cpu", arms, missing, "make bench-sifting", 0.1, genuine=True)


def test_arms_and_seeds_stand_in_their_order_whatever_ended_first(result):
    assert [each["arm"] for each in result["arms"]] == ["full", "shortened-0.5", "memory-0.5"]
    assert [run["seed"] for run in result["runs"]["full"]] == [0, 1]


def test_the_page_says_what_an_arm_cost_and_saved(result):
    lines = page([result]).splitlines()
    (row,) = [line for line in lines if line.startswith("| ours, memory, keep 0.5")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:] == [
        "88.00 ± 1.00",
        "1.41",
        "78.0",
        "2",
        "500 (50 %)",
        "1,500 (50 %)",
        "500 (50 %)",
        "120.0",
        "60.0",
        "60 %",
        "28 %",  # plain training reaches 88 % at 83.3 s
        "40 %",  # and at 2,500 forward-equivalents
    ]


def test_a_job_that_fell_to_another_tier_is_marked(result):
    assert "| ours, memory, keep 0.5 (**tier forward**) |" in page([result])


def test_the_page_says_what_was_not_had_and_how_ours_stood(result):
    text = page([result])
    assert "Not had: infobatch: its source is not to be had" in text
    assert "- memory-0.5 beside plain, shortened: +2.80 ± 1.41 at equal time (better)" in text
    assert (
        "| Fashion-MNIST, small ResNet | 90.00 (100 %) | 88.00 (60 %) |  | 84.00 (50 %) |" in text
    )


def test_the_page_says_what_was_saved_at_full_training_s_result(result):
    (nothing_as_good,) = (line for line in page([result]).splitlines() if line.endswith("| none |"))
    assert nothing_as_good.count("none") == 8
    result["runs"]["memory-0.5"] = runs(0.8985, 60, 500, "memory")
    result["runs"]["memory-0.7"] = runs(0.91, 80, 700, "memory")
    assert "| Fashion-MNIST, small ResNet | 50 % (-0.15) | none |" in page([result])


def test_a_claim_carries_its_command_and_the_count_of_what_held(result):
    _, _, ours, _, plain, peers = claims([result])
    assert ours.startswith(
        "| Fashion-MNIST, small ResNet | 90.00 (100 %) |  | 88.00 (50 %) | 84.00 (50 %) | none | "
        "`make bench-sifting`, 2"
    )
    assert plain.endswith("within one standard error: 1 of 1.")
    assert peers.endswith("within one standard error: 0 of 0.")


def test_the_readme_claims_what_the_results_say():
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    said = readme.partition("<!-- claims -->\n")[2].partition("\n<!-- end of claims -->")[0]
    assert said.splitlines() == claims(read_all())
    assert {each["workload"] for each in read_all()} == WORKLOADS.keys()


def test_what_is_written_is_read_back(result, tmp_path):
    path = write(result, tmp_path)
    assert path == tmp_path / "fashion.json"
    assert read_all(tmp_path) == [json.loads(json.dumps(result))]
    assert (tmp_path / "fashion.svg").exists()
    assert "![Fashion-MNIST, small ResNet](fashion.svg)" in (tmp_path / "README.md").read_text()


def test_the_command_of_a_result_is_no_longer_than_it_must_be():
    usual = {name: [{"seed": seed} for seed in (0, 1, 2)] for name in DEFAULT["cpu"]}
    assert command_of("imdb", "cpu", usual) == "make bench-sifting ARGS=imdb"
    few = {"full": [{"seed": 4}], "memory-0.5": [{"seed": 4}]}
    assert command_of("imdb", "full", few) == (
        "make bench-sifting-full ARGS='imdb --arms full,memory-0.5 --seeds 4'"
    )
