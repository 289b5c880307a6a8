"""`sift-launch receipt NAME`: what sifting did, and what it saved."""

from __future__ import annotations

import json
import sys

import click

from sift_launcher.cli.job_names import job_name


@click.command("receipt", help="Show what sifting did in the job NAME, and what it saved.")
@job_name
@click.option("--json", "as_json", is_flag=True, help="Print the receipt of all ranks as JSON.")
def command(name: str, region: str | None, profile: str | None, as_json: bool) -> None:
    """Prints one job's receipt."""
    from sift_launcher.console import print_facts, print_table
    from sift_launcher.jobs import find_job
    from sift_launcher.receipts import class_rows, one_line, picture, rows

    receipt, folder = find_job(name, region, profile).receipt()
    if as_json:
        sys.stdout.write(json.dumps(receipt.to_dict(), indent=2) + "\n")
        return
    state = "" if receipt.final else " (the job is still running)"
    print_facts(f"{name}{state}", rows(receipt))
    if receipt.classes:
        sys.stdout.write("\n")
        sys.stdout.flush()
        print_table(("class:", "seen:", "kept:", "kept share:"), class_rows(receipt))
    sys.stdout.write(one_line(receipt) + "\n")
    drawn = picture(receipt, folder) if receipt.final else None
    if drawn:
        sys.stdout.write(f"picture: {drawn}\n")
