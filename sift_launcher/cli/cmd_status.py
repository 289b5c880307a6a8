"""`sift-launch status NAME`: what became of a job."""

from __future__ import annotations

import sys
from typing import Any

import click

from sift_launcher.cli.job_names import job_name

_LAST_LINES = 10


@click.command("status", help="Show what became of the job NAME.")
@job_name
@click.option("--json", "as_json", is_flag=True, help="Print SageMaker's description as JSON.")
def command(name: str, region: str | None, profile: str | None, as_json: bool) -> None:
    """Describes one job."""
    from sift_launcher.cli.launch import to_json
    from sift_launcher.console import print_facts
    from sift_launcher.jobs import find_job, status_of

    job = find_job(name, region, profile)
    described = job.describe()
    if as_json:
        sys.stdout.write(to_json(described) + "\n")
        return
    rows = [("status", f"{described['TrainingJobStatus']} ({described['SecondaryStatus']})")]
    if "FailureReason" in described:
        rows.append(("reason", described["FailureReason"]))
    rows.append(("where", f"{job.where}, {_hosts(described['ResourceConfig'])}"))
    for each in described.get("SecondaryStatusTransitions", ()):
        rows.append((f"{each['StartTime'].astimezone():%H:%M:%S}", each.get("StatusMessage", "")))
    if "TrainingTimeInSeconds" in described:
        rows.append(("seconds of training", str(described["TrainingTimeInSeconds"])))
    if job.can_cost:
        if "BillableTimeInSeconds" in described:
            rows.append(("seconds billed", str(described["BillableTimeInSeconds"])))
        cost = job.cost(status_of(described))
        rows.append(("cost", "unknown" if cost is None else str(cost)))
    rows += [("outputs", job.results()), ("log", job.log_place())]
    if described["TrainingJobStatus"] == "Failed":
        rows += [("last lines", "\n".join(job.last_lines(_LAST_LINES)))]
    print_facts(name, rows)


def _hosts(resources: dict[str, Any]) -> str:
    groups = resources.get("InstanceGroups") or [resources]
    return " and ".join(f"{each['InstanceCount']} x {each['InstanceType']}" for each in groups)
