"""Asking before a job is paid for: its budget, and a question where somebody can answer it."""

from __future__ import annotations

import sys

from sift_launcher.cloud.cost_limit import cost_limit
from sift_launcher.cloud.facts import Cloud
from sift_launcher.errors import (
    BudgetExceeded,
    ConfirmationNeeded,
    JobInterrupted,
    OptionError,
    PriceUnknown,
)
from sift_launcher.plan import Plan

_YES = ("y", "yes")


def check_budget(plan: Plan, budget_dollars: float | None) -> None:
    """Raises BudgetExceeded or PriceUnknown unless the job keeps within its budget, if it has one,
    and OptionError for a budget that is none.

    A rehearsal keeps within that of the job it rehearses.
    """
    if budget_dollars is not None and not budget_dollars >= 0:
        raise OptionError(f"--budget {budget_dollars:g} is no sum of money: US dollars, as 20")
    if budget_dollars is None or plan.cloud is None:
        return
    if plan.max_cost_dollars is None:
        raise PriceUnknown(
            f"--budget {budget_dollars:g} cannot be kept to: {price_unknown(plan.cloud)}"
        )
    if plan.max_cost_dollars <= budget_dollars:
        return
    raise BudgetExceeded(
        f"the job can cost ${plan.max_cost_dollars:.2f}, more than --budget {budget_dollars:g}: "
        f"{_within(plan, plan.cloud, budget_dollars)}"
    )


def check_can_ask(plan: Plan, is_confirmed: bool) -> None:
    """Raises ConfirmationNeeded where a question would have to be asked, and nobody sees it."""
    if not _is_question(plan, is_confirmed) or (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    raise ConfirmationNeeded(
        f"nobody is here to be asked about job {plan.name}, {_what_it_costs(plan)}: add --yes to "
        "launch it"
    )


def confirm(plan: Plan, is_confirmed: bool) -> None:
    """Asks whether to launch the job, unless that `is_confirmed` or costs nothing.

    Raises JobInterrupted when the answer is not yes.
    """
    if not _is_question(plan, is_confirmed):
        return
    sys.stderr.write(f"Launch job {plan.name}, {_what_it_costs(plan)}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in _YES:
        raise JobInterrupted("nothing was launched")


def price_unknown(cloud: Cloud) -> str:
    """That no price is known, and what to type."""
    problem = cloud.price_problem or "--price USD says what an hour of an instance costs"
    return f"what an instance costs is not known ({problem})"


def _is_question(plan: Plan, is_confirmed: bool) -> bool:
    return not is_confirmed and plan.cloud is not None and not plan.is_rehearsal


def _what_it_costs(plan: Plan) -> str:
    if plan.max_cost_dollars is None:
        return "at a price that is not known"
    return f"which can cost ${plan.max_cost_dollars:.2f}"


def _within(plan: Plan, cloud: Cloud, budget_dollars: float) -> str:
    seconds = 0
    if cloud.prices is not None:
        seconds = cost_limit(plan.request, cloud.prices).longest_run_seconds(budget_dollars)
    if seconds < 1:
        return "there is no --max-run that keeps within it; take a smaller --instance or --count"
    return f"--max-run {seconds} keeps within it"
