"""The process that runs one job and outlives the command that started it.

    python -m sift_launcher.local.supervisor RECORD

RECORD is the folder of the job's record. The service hands its lock down as an open file, which
needs no further word: as long as this process lives, whatever ends it, the lock is held. The
job's own processes do not get it.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from sift_launcher.errors import SiftLaunchError
from sift_launcher.local.attend import Attendance, Ending, Limits
from sift_launcher.local.collect import collect, folder_of
from sift_launcher.local.container import ContainerRunner
from sift_launcher.local.host_runner import HostRunner
from sift_launcher.local.process import ProcessRunner
from sift_launcher.local.records import JobRecord
from sift_launcher.local.status import ended, entered
from sift_launcher.local.tree import HostTree, hosts_of, lay_out
from sift_launcher.local.verdict import ROOM, failure
from sift_launcher.local.wakeups import Wakeups
from sift_launcher.local.working_folder import Snapshot, keep_written, snapshot
from sift_launcher.paths import file_uri, local_path


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
        self._code: dict[str, Snapshot] = {}
        output = local_path(self._request["OutputDataConfig"]["S3OutputPath"])
        self._output = (output or record.folder) / record.name / "output"

    def run(self) -> None:
        """Lays out, trains, collects; whatever goes wrong on the way is the job's failure."""
        try:
            runner = self._runner()
            trees = self._lay_out(runner)
            ending = self._train(runner, trees)
        except OSError as error:
            self._fail(f"the job could not be started: {_told(error)}")
            return
        except SiftLaunchError as error:
            self._fail(f"the job could not be started: {error}")
            return
        self._finish(trees, ending)

    def _runner(self) -> HostRunner:
        environment = dict(self._request.get("Environment", {})) | {
            "TRAINING_JOB_NAME": self._record.name,
            "TRAINING_JOB_ARN": self._settings["TrainingJobArn"],
        }
        if (python := local_path(self._request["AlgorithmSpecification"]["TrainingImage"])) is None:
            return ContainerRunner(self._record, environment, self._wakeups.wake)
        return ProcessRunner(str(python), environment, self._record.folder / "packages")

    def _lay_out(self, runner: HostRunner) -> dict[str, HostTree]:
        self._enter("InProgress", "Downloading")
        trees = {}
        for host in hosts_of(self._request):
            folder = self._record.hosts / host
            trees[host] = lay_out(
                folder, host, self._request, runner.base(folder), runner.network_interface
            )
        self._code = {host: snapshot(tree.code) for host, tree in trees.items()}
        return trees

    def _train(self, runner: HostRunner, trees: dict[str, HostTree]) -> Ending:
        if self._record.is_asked("stop"):
            return Ending({}, "Stopped")
        try:
            running = runner.start(trees, self._record.logs)
            self._enter("InProgress", "Training")
            limits = Limits(
                run=self._request["StoppingCondition"]["MaxRuntimeInSeconds"],
                stop=float(self._settings["StopSeconds"]),
            )
            hosts = Attendance(
                running, limits, self._record.is_asked, lambda: self._enter("Stopping", "Stopping")
            )
            return hosts.until_all_ended(self._wakeups.wait)
        finally:
            # A host ends with its first program, and with this one: nothing of it runs on.
            runner.close()

    def _finish(self, trees: dict[str, HostTree], ending: Ending) -> None:
        self._enter("Stopping" if ending.stopped else "InProgress", "Uploading")
        reason = None if ending.stopped else failure(trees, ending)
        try:
            model = collect(trees, self._output)
            for host, tree in trees.items():
                written = folder_of(host, self._output) / "code"
                keep_written(tree.code, self._code[host], written)
        except OSError as error:
            lost = (
                f"the job's outputs could not be collected in {self._output}: {_told(error)}; "
                f"they are kept in {self._record.hosts}"
            )
            self._fail(lost if reason is None else f"{reason}; also, {lost}")
            return
        # All of it is in the output folder: clutter that cannot be removed harms nobody.
        shutil.rmtree(self._record.hosts, ignore_errors=True)
        if reason is not None:
            self._fail(reason)
            return
        primary = "Stopped" if ending.stopped else "Completed"
        self._write(
            ended(
                self._status,
                primary,
                time.time(),
                secondary=ending.stopped,
                model=file_uri(model),
            )
        )

    def _fail(self, reason: str) -> None:
        self._write(ended(self._status, "Failed", time.time(), reason=reason))

    def _enter(self, primary: str, secondary: str) -> None:
        self._write(entered(self._status, primary, secondary, time.time()))

    def _write(self, status: dict[str, object]) -> None:
        self._status = status
        self._record.write_status(status)


def _told(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    mend = "" if isinstance(error, FileNotFoundError) else f"; {ROOM}"
    return f"{error.strerror or error}{where}{mend}"


if __name__ == "__main__":
    main(sys.argv[1])
