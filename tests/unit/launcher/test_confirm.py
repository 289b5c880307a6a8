"""What stands between a plan and its bill: a budget, and a question where one can be asked."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from cloud_here import CLOUD, SPEC, here

from sift_launcher.cli.confirm import check_budget, check_can_ask, confirm
from sift_launcher.cloud.facts import Cloud, Prices
from sift_launcher.errors import (
    BudgetExceeded,
    ConfirmationNeeded,
    JobInterrupted,
    OptionError,
    PriceUnknown,
)
from sift_launcher.plan import Plan, plan


def planned(cloud: Cloud = CLOUD, **change: object) -> Plan:
    return plan(replace(SPEC, max_run_seconds=7200, **change), here(cloud))


PAID = planned(replace(CLOUD, prices=Prices(1.5)))
UNKNOWN = planned(replace(CLOUD, prices=None, price_problem="nobody answers"))


def test_a_job_within_its_budget_goes_on():
    check_budget(PAID, 3.0)
    check_budget(PAID, None)
    check_budget(UNKNOWN, None)
    check_budget(replace(PAID, cloud=None, max_cost_dollars=0.0), 0.0)


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        (
            2.99,
            "the job can cost $3.00, more than --budget 2.99: --max-run 7176 keeps within it",
        ),
        (
            0.0,
            "the job can cost $3.00, more than --budget 0: there is no --max-run that keeps within "
            "it; take a smaller --instance or --count",
        ),
    ],
)
def test_a_job_over_its_budget_is_refused_with_what_keeps_within_it(budget: float, told: str):
    for each in (PAID, replace(PAID, is_rehearsal=True)):
        with pytest.raises(BudgetExceeded) as caught:
            check_budget(each, budget)
        assert str(caught.value) == told
    check_budget(planned(replace(CLOUD, prices=Prices(1.5)), name="d"), 3.0)


def test_the_run_that_is_named_keeps_within_the_budget():
    spec = replace(SPEC, max_run_seconds=7176)
    check_budget(plan(spec, here(replace(CLOUD, prices=Prices(1.5)))), 2.99)


def test_a_budget_without_a_price_is_refused():
    with pytest.raises(PriceUnknown) as caught:
        check_budget(UNKNOWN, 10.0)
    assert str(caught.value) == (
        "--budget 10 cannot be kept to: what an instance costs is not known (nobody answers)"
    )


@pytest.mark.parametrize("budget", [-1.0, float("nan")])
def test_a_budget_that_is_no_sum_is_refused(budget: float):
    with pytest.raises(OptionError, match=r"^--budget .* is no sum of money"):
        check_budget(PAID, budget)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch):
    """Asks on a terminal where the answer has been typed; returns what was asked."""

    def ask(plan: Plan, answer: str) -> str:
        shown = Terminal()
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        monkeypatch.setattr("sys.stderr", shown)
        check_can_ask(plan, is_confirmed=False)
        confirm(plan, is_confirmed=False)
        return shown.getvalue()

    return ask


@pytest.mark.parametrize("answer", ["y\n", "yes\n", " Y \n"])
def test_yes_launches(asked, answer: str):
    assert asked(PAID, answer) == "Launch job digits, which can cost $3.00? [y/N] "
    assert asked(UNKNOWN, answer) == "Launch job digits, at a price that is not known? [y/N] "


@pytest.mark.parametrize("answer", ["\n", "", "n\n", "no\n", "sure\n"])
def test_all_else_launches_nothing(asked, answer: str):
    with pytest.raises(JobInterrupted, match=r"^nothing was launched$"):
        asked(PAID, answer)


@pytest.mark.parametrize("whole", ["sys.stdin", "sys.stderr"])
def test_without_a_terminal_nobody_is_asked_and_nothing_launched(
    monkeypatch: pytest.MonkeyPatch, whole: str
):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    monkeypatch.setattr("sys.stderr", io.StringIO())
    monkeypatch.setattr(whole, Terminal("y\n"))
    with pytest.raises(ConfirmationNeeded) as caught:
        check_can_ask(PAID, is_confirmed=False)
    assert str(caught.value) == (
        "nobody is here to be asked about job digits, which can cost $3.00: add --yes to launch it"
    )


def test_who_has_said_yes_and_what_costs_nothing_is_not_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for job, is_confirmed in (
        (PAID, True),
        (replace(PAID, is_rehearsal=True), False),
        (replace(PAID, cloud=None), False),
    ):
        check_can_ask(job, is_confirmed)
        confirm(job, is_confirmed)
