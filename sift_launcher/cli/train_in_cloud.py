"""Launching a job in SageMaker: the plan first, then whatever would be refused, then the question.

A rehearsal goes the same way, to this machine. SageMaker's SDK, which takes seconds to import, is
imported once the plan is on the screen, while everything else goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from threading import Thread
from typing import TYPE_CHECKING, Any

from sift_launcher.cli.confirm import check_budget, check_can_ask, confirm
from sift_launcher.cli.rehearsal_options import moments
from sift_launcher.cli.show_plan import end_dry_run, in_short, show_plan
from sift_launcher.cloud.checks import preflight
from sift_launcher.cloud.client import Clients
from sift_launcher.console import say
from sift_launcher.errors import ExtraMissing
from sift_launcher.job_spec import JobSpec
from sift_launcher.plan import Plan, plan
from sift_launcher.surroundings import gather

if TYPE_CHECKING:
    from sift_launcher.rehearsal.start import Rehearsal


def train_in_cloud(spec: JobSpec, values: Mapping[str, Any]) -> None:
    """Launches the job of `spec`, or shows its plan; `values` are the options by their names.

    Raises the error of whatever SageMaker would refuse; then nothing was started.
    """
    if not values["rehearse"]:
        _train(spec, values)
        return
    from sift_launcher.rehearsal.start import rehearse

    rehearsal = rehearse(values["rehearse_on"], moments(values["rehearse_interrupt"]))
    _train(_of_no_account(spec), values, rehearsal)


def _of_no_account(spec: JobSpec) -> JobSpec:
    """`spec` without what only the user's own account has; a rehearsal is an account of its own."""
    own = {
        "--role": spec.role,
        "--region": spec.region,
        "--profile": spec.profile,
        "--kms-key": spec.kms_key,
        "--subnet": spec.subnets,
        "--security-group": spec.security_groups,
    }
    if given := [option for option, value in own.items() if value]:
        say(f"a rehearsal is an account of its own: {', '.join(given)} stand aside")
    return replace(
        spec, role=None, region=None, profile=None, kms_key=None, subnets=(), security_groups=()
    )


def _train(spec: JobSpec, values: Mapping[str, Any], rehearsal: Rehearsal | None = None) -> None:
    # Only when everything on this machine is in order, and once.
    connect = cache(lambda: Clients(spec.region, spec.profile))
    planned = replace(plan(spec, gather(spec, connect=connect)), is_rehearsal=rehearsal is not None)
    clients = connect()
    if values["dry_run"]:
        _show(planned, clients, values)
        return
    say(in_short(planned))
    check_budget(planned, values["budget"])
    check_can_ask(planned, values["yes"])
    # Not a daemon: the interpreter must not end in the middle of it.
    Thread(target=_import_ahead).start()
    _look_before(planned, clients)
    confirm(planned, values["yes"])
    if rehearsal is not None:
        rehearsal.announce(planned.name)
    from sift_launcher.cli.launch import launch_cloud

    launch_cloud(planned, wait=values["wait"], as_json=values["as_json"])


def _show(planned: Plan, clients: Clients, values: Mapping[str, Any]) -> None:
    """The dry run. What would be refused is: a plan that cannot become a job is a wrong call."""
    show_plan(planned, values["as_json"])
    sys.stdout.flush()
    check_budget(planned, values["budget"])
    _look_before(planned, clients)
    end_dry_run(values["as_json"])


def _look_before(planned: Plan, clients: Clients) -> None:
    if planned.cloud is None:
        return
    for note in preflight(planned, planned.cloud, clients):
        say(note)


def _import_ahead() -> None:
    with suppress(ImportError, ExtraMissing):  # told where it is needed
        import sift_launcher.estimator.submit  # noqa: F401
