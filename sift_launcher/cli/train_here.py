"""Launching a job on this machine: in a process, or in containers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from sift_launcher.instances import is_container
from sift_launcher.job_spec import JobSpec
from sift_launcher.plan import plan
from sift_launcher.surroundings import gather


def train_here(spec: JobSpec, values: Mapping[str, Any]) -> None:
    """Runs the job of `spec`, or shows its plan; `values` are the options by their names."""
    point_to_account(spec)
    if values["dry_run"]:
        from sift_launcher.cli.show_plan import end_dry_run, show_plan

        show_plan(plan(spec, gather(spec)), values["as_json"])
        end_dry_run(values["as_json"])
        return
    from sift_launcher.cli.launch import launch
    from sift_launcher.cli.pulling import pull_with_report
    from sift_launcher.local.standby import Standby

    with Standby(["docker"] if is_container(spec.instance) else []) as standby:
        planned = plan(spec, gather(spec, pull_with_report))
        launch(planned, standby, wait=values["wait"], as_json=values["as_json"])


def point_to_account(spec: JobSpec) -> None:
    """What fetches data from S3 is another process: its environment says from which account."""
    for name, value in (("AWS_REGION", spec.region), ("AWS_PROFILE", spec.profile)):
        if value is not None:
            os.environ[name] = value
