"""`sift-launch status NAME`: what became of a job."""

from __future__ import annotations

import sys

import click

from sift_launcher.cli.job_names import job_name


@click.command("status", help="Show what became of the job NAME.")
@job_name
@click.option("--json", "as_json", is_flag=True, help="Print SageMaker's description as JSON.")
def command(name: str, as_json: bool) -> None:
    """Describes one job."""
    from sift_launcher.cli.launch import to_json
    from sift_launcher.console import print_facts
    from sift_launcher.local.service import LocalTrainingService
    from sift_launcher.receipts import results_folder

    service = LocalTrainingService()
    job = service.describe_training_job(TrainingJobName=name)
    if as_json:
        sys.stdout.write(to_json(job) + "\n")
        return
    record = service.record(name)
    rows = [("status", f"{job['TrainingJobStatus']} ({job['SecondaryStatus']})")]
    if "FailureReason" in job:
        rows.append(("reason", job["FailureReason"]))
    for each in job["SecondaryStatusTransitions"]:
        rows.append((f"{each['StartTime'].astimezone():%H:%M:%S}", each["StatusMessage"]))
    if "TrainingTimeInSeconds" in job:
        rows.append(("seconds of training", str(job["TrainingTimeInSeconds"])))
    rows += [("outputs", str(results_folder(record))), ("log", str(record.log))]
    print_facts(name, rows)
