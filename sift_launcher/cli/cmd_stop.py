"""`sift-launch stop NAME`: ask a job to stop."""

from __future__ import annotations

import click

from sift_launcher.cli.job_names import job_name


@click.command("stop", help="Stop the job NAME; its logs, outputs and checkpoints are kept.")
@job_name
@click.option("--kill", is_flag=True, help="At once, without the time to end by itself.")
def command(name: str, region: str | None, profile: str | None, kill: bool) -> None:
    """Stops one job and returns at once."""
    from sift_launcher.console import say
    from sift_launcher.jobs import find_job

    find_job(name, region, profile).stop(kill=kill)
    say(f"stopping job {name}; sift-launch status {name} tells when it has")
