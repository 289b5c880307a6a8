"""`sift-launch jobs`: the jobs, newest first."""

from __future__ import annotations

import sys
import time

import click

from sift_launcher.cli.job_names import in_the_cloud

_LIMIT = 1000


@click.command(
    "jobs",
    help="List the jobs that were launched from here, newest first, wherever they run; with "
    "--region or --profile all jobs of that account.",
)
@in_the_cloud
@click.option(
    "--limit", type=click.IntRange(min=1), default=_LIMIT, show_default=True, metavar="N",
    help="The newest N.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def command(region: str | None, profile: str | None, limit: int, as_json: bool) -> None:
    """Lists the jobs."""
    from sift_launcher.console import print_columns, say
    from sift_launcher.job_list import cells, own_jobs

    if region or profile:
        from sift_launcher.cloud.listing import jobs_of_account

        lines = jobs_of_account(region, profile, limit)
    else:
        lines, problems = own_jobs(limit)
        for problem in problems:
            say(problem)
    if as_json:
        from sift_launcher.cli.launch import to_json

        sys.stdout.write(to_json([line.to_dict() for line in lines]) + "\n")
        return
    if not lines:
        sys.stdout.write("no jobs yet: sift-launch SCRIPT launches one\n")
        return
    columns = ("job", "status", "where", "created", "seconds:", "cost:")
    print_columns(columns, list(cells(lines, time.time())))
