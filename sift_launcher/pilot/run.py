"""Running a pilot's trials as jobs of this machine, one after the other.

A trial that has completed is never run again: its job's record and outputs are all that a rerun
needs. One that failed or was stopped keeps its name, its log and its outputs, and is tried again
under a further name.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sift_launcher.bundle import pack
from sift_launcher.errors import MetricNotFound, ResourceInUse, ResourceNotFound
from sift_launcher.job_spec import JobSpec
from sift_launcher.local.job import LocalJob
from sift_launcher.local.status import ENDED
from sift_launcher.paths import local_path
from sift_launcher.pilot.arms import Trial
from sift_launcher.pilot.metric import Metric, missing, usual
from sift_launcher.pilot.results import Measurement, measured
from sift_launcher.plan import Plan, plan
from sift_launcher.surroundings import Surroundings
from smart_sifting.sift_config.job_config import SiftConfig


@dataclass(frozen=True)
class Trials:
    """How the trials of one pilot become jobs."""

    name: str
    """The pilot's; its jobs' names begin with it."""

    spec: JobSpec
    """What all jobs have in common."""

    base: SiftConfig
    """How they are sifted, but for the share."""

    surroundings: Surroundings
    seed_argument: str | None
    launch: Callable[[Plan], None]
    """Runs a job until it has ended; raises JobFailed or JobInterrupted unless it completed."""

    def run(self, trial: Trial) -> LocalJob:
        """The completed job of `trial`, which may be one of an earlier call.

        Raises ResourceInUse when it is running elsewhere, or was another trial: of other code, or
        with other options.
        """
        attempt = 0
        while True:
            attempt += 1
            planned = self.plan(trial, attempt)
            job = LocalJob(planned.name)
            has_outputs = _archive(planned).exists()
            if not job.exists():
                if has_outputs:
                    continue  # of a job whose record is gone
                self.launch(planned)
                return job
            status = job.describe()["TrainingJobStatus"]
            if status == "Completed" and has_outputs:
                self._check_same(planned, job)
                return job
            if status not in ENDED:
                raise ResourceInUse(
                    f"job {job.name} of this pilot is still running: wait for it, or stop it with "
                    f"sift-launch stop {job.name}"
                )

    def plan(self, trial: Trial, attempt: int = 1) -> Plan:
        """The plan of a trial's job. Raises what `plan.plan` does."""
        spec = replace(
            self.spec,
            name=trial.job_name(self.name, attempt),
            arguments=trial.arguments(self.spec.arguments, self.seed_argument),
            sift_config=trial.config(self.base),
        )
        return plan(spec, self.surroundings)

    def _check_same(self, planned: Plan, job: LocalJob) -> None:
        if job.record.request() != planned.request:
            changed = "other options or arguments"
        elif not _is_same_code(planned):
            changed = "other code"
        else:
            return
        raise ResourceInUse(
            f"pilot {self.name} has run job {job.name} with {changed}: what it measured cannot be "
            "compared; choose another --name"
        )


def measure(trial: Trial, job: LocalJob, metric: Metric | None) -> tuple[Measurement, Metric]:
    """What the completed `job` came to, and how its metric was read off its log: by `metric`, else
    by the first of the usual words.

    Raises MetricNotFound when the log has no figure, ResourceNotFound when nothing trained in it.
    """
    receipt, _ = job.receipt()
    if receipt.samples.kept == 0:
        raise ResourceNotFound(
            f"no training was seen in job {job.name} ({receipt.reason}): there is nothing to "
            "compare"
        )
    log = b"".join(job.log_content()).decode("utf-8", errors="replace")
    try:
        used = metric or usual(log)
        found = used.last(log)
        if found is None:
            raise missing(used)
    except MetricNotFound as error:
        raise MetricNotFound(f"job {job.name}: {error}; log: {job.log_place()}") from error
    told = job.describe()
    seconds = (told["TrainingEndTime"] - told["TrainingStartTime"]).total_seconds()
    return measured(trial, job.name, seconds, receipt, found), used


def _archive(planned: Plan) -> Path:
    return local_path(planned.bundle_uri) or Path()


def _is_same_code(planned: Plan) -> bool:
    """Equal contents give equal archives."""
    before = _archive(planned)
    with tempfile.TemporaryDirectory() as aside:
        now = Path(aside) / before.name
        pack(planned.bundle, now)
        return now.read_bytes() == before.read_bytes()
