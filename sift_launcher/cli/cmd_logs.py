"""`sift-launch logs NAME [--follow]`: what a job printed."""

from __future__ import annotations

import sys

import click

from sift_launcher.cli.job_names import job_name


@click.command("logs", help="Print the log of the job NAME: its stdout and stderr, as they came.")
@job_name
@click.option("-f", "--follow", is_flag=True, help="Stay, and print what comes until the job ends.")
def command(name: str, follow: bool) -> None:
    """Prints one job's log."""
    from sift_launcher.cli.launch import conclude, live_log
    from sift_launcher.follow import follow as follow_job
    from sift_launcher.follow import log_content
    from sift_launcher.local.service import LocalTrainingService

    service = LocalTrainingService()
    record = service.record(name)
    if not follow:
        for content in log_content(record):
            sys.stdout.buffer.write(content)
        return
    with live_log(sys.stdout) as log:
        status = follow_job(service, name, log)
    conclude(service, name, status)
