"""`sift-launch logs NAME [--follow]`: what a job printed."""

from __future__ import annotations

import sys

import click

from sift_launcher.cli.job_names import job_name


@click.command("logs", help="Print the log of the job NAME: its stdout and stderr, as they came.")
@job_name
@click.option("-f", "--follow", is_flag=True, help="Stay, and print what comes until the job ends.")
def command(name: str, region: str | None, profile: str | None, follow: bool) -> None:
    """Prints one job's log."""
    from sift_launcher.console import say
    from sift_launcher.jobs import find_job

    job = find_job(name, region, profile)
    if not follow:
        is_empty = True
        for content in filter(None, job.log_content()):
            sys.stdout.buffer.write(content)
            is_empty = False
        if is_empty:
            say(f"job {name} has printed nothing (yet)")
        return
    from sift_launcher.cli.launch import conclude, live_log
    from sift_launcher.follow import follow as follow_job

    with live_log(sys.stdout) as log:
        status = follow_job(job, log)
    conclude(job, status)
