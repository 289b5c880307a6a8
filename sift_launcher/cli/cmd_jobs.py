"""`sift-launch jobs`: the jobs, newest first."""

from __future__ import annotations

import sys

import click


@click.command("jobs", help="List the jobs of this machine, newest first.")
@click.option("--json", "as_json", is_flag=True, help="Print SageMaker's summaries as JSON.")
def command(as_json: bool) -> None:
    """Lists the jobs."""
    from sift_launcher.cli.launch import to_json
    from sift_launcher.console import print_table
    from sift_launcher.local.service import LocalTrainingService

    jobs = LocalTrainingService().list_training_jobs()["TrainingJobSummaries"]
    if as_json:
        sys.stdout.write(to_json(jobs) + "\n")
        return
    if not jobs:
        sys.stdout.write("no jobs yet: sift-launch SCRIPT launches one\n")
        return
    rows = [
        (
            job["TrainingJobName"],
            job["TrainingJobStatus"],
            f"{job['CreationTime'].astimezone():%Y-%m-%d %H:%M:%S}",
            _seconds(job),
        )
        for job in jobs
    ]
    print_table(("job", "status", "created", "seconds:"), rows)


def _seconds(job: dict[str, object]) -> str:
    from datetime import datetime, timezone

    start, end = job["CreationTime"], job.get("TrainingEndTime", datetime.now(timezone.utc))
    if isinstance(start, datetime) and isinstance(end, datetime):
        return f"{(end - start).total_seconds():.0f}"
    return ""
