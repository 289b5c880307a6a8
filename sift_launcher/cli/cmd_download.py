"""`sift-launch download NAME`: a job's outputs and checkpoints, here."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sift_launcher.cli.job_names import job_name


@click.command("download", help="Bring the outputs and checkpoints of the job NAME here.")
@job_name
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    help="The folder that they are put in.  [default: sift-output/NAME]",
)
@click.option("--unpack", is_flag=True, help="Unpack model.tar.gz and output.tar.gz beside them.")
def command(
    name: str, region: str | None, profile: str | None, to: Path | None, unpack: bool
) -> None:
    """Downloads what is not here yet; half of a file is completed by the next call."""
    from sift_launcher.bundle import megabytes
    from sift_launcher.job_spec import DEFAULT_OUTPUT
    from sift_launcher.jobs import find_job
    from sift_launcher.unpack import unpack as unpack_archive

    folder = to or Path(DEFAULT_OUTPUT) / name
    files = find_job(name, region, profile).download(folder)
    for path in files:
        sys.stdout.write(f"{megabytes(path.stat().st_size):>9}  {path}\n")
    if not unpack:
        return
    for path in files:
        if path.name in ("model.tar.gz", "output.tar.gz"):
            sys.stdout.write(f" unpacked  {unpack_archive(path)}\n")
