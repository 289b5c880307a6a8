"""`sift-launch doctor`: whether a job could run here, and what mends it where it could not."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sift_launcher.doctor.checks import Check


@click.command(
    "doctor",
    help="Look whether a job could run here: a line each, in order or with what mends it. "
    "Exit code 1 when the wished instance could not run.",
)
@click.option("--instance", default="process", show_default=True, help="Where it would run.")
@click.option("--image", help="The image it would run in, as on a launch.")
@click.option("--python", metavar="PATH", help="The interpreter of a process, as on a launch.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def command(instance: str, image: str | None, python: str | None, as_json: bool) -> int:
    """Examines this machine; the exit code."""
    from sift_launcher.doctor.checks import can_run, examine
    from sift_launcher.doctor.gather import gather

    checks = examine(gather(instance, image, python))
    runs = can_run(checks)
    if as_json:
        found = {"instance": instance, "can_run": runs, "checks": [c.to_dict() for c in checks]}
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        sys.stdout.write("".join(f"{_line(check)}\n" for check in checks))
        verdict = "can run here" if runs else "cannot run here: mend what says so above"
        sys.stdout.write(f"--instance {instance} {verdict}\n")
    return 0 if runs else 1


def _line(check: Check) -> str:
    if check.is_ok:
        return f"ok    {check.name:<13} {check.told}"
    state = "mend" if check.is_needed else "-"
    told = f"{check.told}: {check.mend}" if check.mend else check.told
    return f"{state:<5} {check.name:<13} {told}"
