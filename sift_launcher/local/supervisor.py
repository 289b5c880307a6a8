"""The process that runs one job and outlives the command that started it.

    python -m sift_launcher.local.supervisor RECORD

RECORD is the folder of the job's record. The service hands its lock down as an open file, which
needs no further word: as long as this process lives, whatever ends it, the lock is held. The
job's own processes do not get it.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from sift_launcher.errors import SiftLaunchError
from sift_launcher.local import players
from sift_launcher.local.attempt import Attempt
from sift_launcher.local.attend import Ending
from sift_launcher.local.container import ContainerRunner
from sift_launcher.local.host_runner import HostRunner
from sift_launcher.local.interruptions import Interruptions, moment, told
from sift_launcher.local.outputs import put_outputs
from sift_launcher.local.places import needs_s3, output_uri
from sift_launcher.local.process import ProcessRunner
from sift_launcher.local.reasons import Reasons
from sift_launcher.local.records import JobRecord
from sift_launcher.local.status import ended, entered
from sift_launcher.local.wakeups import Wakeups
from sift_launcher.local.watch import INTERRUPTED, Limits, Watch
from sift_launcher.paths import local_path

_DEFAULT_RUN_SECONDS = 24 * 60 * 60  # SageMaker's, where a request names none


def main(folder: str) -> None:
    """Runs the job of the record at `folder` to its end."""
    record = JobRecord(Path(folder))
    with Wakeups() as wakeups:
        record.write_pid(os.getpid())
        Supervisor(record, wakeups).run()


class Supervisor:
    """One job, from its record to its end. All it learns is in the record's status."""

    def __init__(self, record: JobRecord, wakeups: Wakeups) -> None:
        self._record = record
        self._wakeups = wakeups
        self._request = record.request()
        self._settings = record.settings()
        self._status = record.status()
        self._stand_in = players.of_settings(self._settings)
        self._spot = self._interruptions()
        self._watch = Watch(
            self._limits(),
            record.is_asked,
            self._spot,
            waited=time.time() - self._status["CreationTime"],
        )
        self._reasons = Reasons(players.is_played(self._request, self._stand_in))
        self._retries = self._request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)

    def run(self) -> None:
        """Attempts until one is the last; whatever goes wrong on the way is the job's failure."""
        number = 1
        while self._is_to_be_repeated(number):
            number += 1
            for folder in (self._record.hosts, self._record.inputs):
                shutil.rmtree(folder, ignore_errors=True)
            self._record.end_log_lines()
            self._record.mark_start()
            self._enter("InProgress", "Starting")

    def _is_to_be_repeated(self, number: int) -> bool:
        attempt: Attempt | None = None
        try:
            attempt = self._attempt(number)
            ending = attempt.run()
        except (OSError, SiftLaunchError) as error:
            reason = self._reasons.of_no_end(error, has_trained=bool(attempt and attempt.trees))
            if self._is_retried(reason):
                return True
            self._fail(reason)
            return False
        if ending.is_interrupted:
            self._enter("InProgress", INTERRUPTED)
            return True
        found = None if ending.stopped else self._reasons.of_end(attempt.trees, ending)
        if found is not None and self._is_retried(found):
            return True
        self._finish(attempt, ending, found)
        return False

    def _attempt(self, number: int) -> Attempt:
        if self._spot is not None:
            self._spot.read(self._record.logs / "algo-1.log")
        return Attempt(
            self._record,
            number,
            self._runner(),
            self._watch,
            self._s3(),
            self._wakeups,
            self._enter,
        )

    def _runner(self) -> HostRunner:
        environment = dict(self._stand_in.environment) if self._stand_in else {}
        environment |= dict(self._request.get("Environment", {})) | {
            "TRAINING_JOB_NAME": self._record.name,
            "TRAINING_JOB_ARN": self._settings["TrainingJobArn"],
        }
        python = players.interpreter_of(self._request, self._stand_in)
        if python is None or players.runs_in_containers(self._request, self._stand_in):
            return ContainerRunner(self._record, environment, self._wakeups.wake)
        return ProcessRunner(str(python), environment, self._record.folder / "packages")

    def _s3(self) -> Any:
        if not needs_s3(self._request):
            return None
        from sift_launcher.cloud.client import Clients

        if self._stand_in is None:
            return Clients()("s3")
        os.environ.update(self._stand_in.environment)
        return Clients(endpoint=self._stand_in.endpoint)("s3")

    def _limits(self) -> Limits:
        limits = self._request["StoppingCondition"]
        return Limits(
            run=limits.get("MaxRuntimeInSeconds", _DEFAULT_RUN_SECONDS),
            stop=self._settings["StopSeconds"],
            wait=limits.get("MaxWaitTimeInSeconds", math.inf),
            notice=self._stand_in.notice_seconds if self._stand_in else 0.0,
        )

    def _interruptions(self) -> Interruptions | None:
        if self._stand_in is None or not self._request.get("EnableManagedSpotTraining"):
            return None
        return Interruptions(
            [moment(text) for text in self._stand_in.interruptions],
            lambda: self._record.is_asked("interrupt"),
            lambda: self._record.withdraw("interrupt"),
        )

    def _is_retried(self, reason: str) -> bool:
        if self._retries == 0 or not self._reasons.is_internal(reason):
            return False
        self._retries -= 1
        return True

    def _finish(self, attempt: Attempt, ending: Ending, reason: str | None) -> None:
        model = None
        if attempt.trees:
            self._enter("Stopping" if ending.stopped else "InProgress", "Uploading")
            try:
                self._tell_what_never_came()
                model = put_outputs(self._record, attempt.trees, attempt.code, self._s3())
            except (OSError, SiftLaunchError) as error:
                uri = output_uri(self._request)
                place, kept = local_path(uri) or uri, self._record.hosts
                lost = self._reasons.of_lost_outputs(error, place, kept)
                self._fail(lost if reason is None else f"{reason}; also, {lost}")
                return
        # All of it is in the output folder: clutter that cannot be removed harms nobody.
        shutil.rmtree(self._record.hosts, ignore_errors=True)
        if reason is not None:
            self._fail(reason)
            return
        primary = "Stopped" if ending.stopped else "Completed"
        now = time.time()
        self._end(ended(self._status, primary, now, secondary=ending.stopped, model=model))

    def _tell_what_never_came(self) -> None:
        if self._spot is not None and self._spot.pending:
            self._record.end_log_lines()
            with (self._record.logs / "algo-1.log").open("a") as log:
                log.write(told(self._spot.pending) + "\n")

    def _fail(self, reason: str) -> None:
        self._end(ended(self._status, "Failed", time.time(), reason=reason))

    def _end(self, status: dict[str, object]) -> None:
        shutil.rmtree(self._record.inputs, ignore_errors=True)
        self._write(status)

    def _enter(self, primary: str, secondary: str) -> None:
        self._write(entered(self._status, primary, secondary, time.time()))

    def _write(self, status: dict[str, object]) -> None:
        self._status = status
        self._record.write_status(status)


if __name__ == "__main__":
    main(sys.argv[1])
