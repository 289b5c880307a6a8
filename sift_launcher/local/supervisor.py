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
from dataclasses import dataclass
from pathlib import Path

from sift_launcher.errors import SiftLaunchError
from sift_launcher.local.collect import collect
from sift_launcher.local.host_runner import HostRunner, RunningHost
from sift_launcher.local.process import ProcessRunner
from sift_launcher.local.records import JobRecord
from sift_launcher.local.status import MAX_REASON, ended, entered
from sift_launcher.local.tree import HostTree, hosts_of, lay_out
from sift_launcher.local.wakeups import Wakeups
from sift_launcher.local.working_folder import Snapshot, keep_written, snapshot
from sift_launcher.paths import file_uri, local_path

_FULL_DISK_BYTES = 1_000_000
_SIGKILL_CODE = 137


def main(folder: str) -> None:
    """Runs the job of the record at `folder` to its end."""
    record = JobRecord(Path(folder))
    with Wakeups() as wakeups:
        record.write_pid(os.getpid())
        Supervisor(record, wakeups).run()


@dataclass(frozen=True)
class _Ending:
    """How the hosts ended."""

    exit_codes: dict[str, int]
    stopped: str | None
    """The secondary status of a job that was stopped, None of one that ended by itself."""


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
            trees = self._lay_out()
            ending = self._train(trees)
        except OSError as error:
            self._fail(f"the job could not be started: {_told(error)}")
            return
        except SiftLaunchError as error:
            self._fail(f"the job could not be started: {error}")
            return
        self._finish(trees, ending)

    def _lay_out(self) -> dict[str, HostTree]:
        self._enter("InProgress", "Downloading")
        trees = {
            host: lay_out(self._record.hosts / host, host, self._request)
            for host in hosts_of(self._request)
        }
        self._code = {host: snapshot(tree.code) for host, tree in trees.items()}
        return trees

    def _train(self, trees: dict[str, HostTree]) -> _Ending:
        if self._record.is_asked("stop"):
            return _Ending({}, "Stopped")
        runner = self._runner()
        running: dict[str, RunningHost] = {}
        try:
            for host, tree in trees.items():
                running[host] = runner.start(tree, self._record.logs / f"{host}.log")
            self._enter("InProgress", "Training")
            return self._attend(running)
        finally:
            # A host ends with its first program, and with this one: nothing of it runs on.
            for each in running.values():
                each.kill()

    def _attend(self, running: dict[str, RunningHost]) -> _Ending:
        """Waits for all hosts, and stops them when someone wants it or their time is up."""
        last_moment = time.monotonic() + self._request["StoppingCondition"]["MaxRuntimeInSeconds"]
        kill_moment = math.inf
        stopped = None
        while len(codes := _exit_codes(running)) < len(running):
            now = time.monotonic()
            if stopped is None and (self._record.is_asked("stop") or now >= last_moment):
                stopped = "Stopped" if now < last_moment else "MaxRuntimeExceeded"
                kill_moment = now + float(self._settings["StopSeconds"])
                self._enter("Stopping", "Stopping")
                for each in running.values():
                    each.terminate()
            if now >= kill_moment or self._record.is_asked("kill"):
                for each in running.values():
                    each.kill()
            next_moment = last_moment if stopped is None else kill_moment
            self._wakeups.wait(next_moment - now if next_moment > now else 1.0)
        return _Ending(codes, stopped)

    def _runner(self) -> HostRunner:
        image = self._request["AlgorithmSpecification"]["TrainingImage"]
        environment = dict(self._request.get("Environment", {})) | {
            "TRAINING_JOB_NAME": self._record.name,
            "TRAINING_JOB_ARN": self._settings["TrainingJobArn"],
        }
        return ProcessRunner(str(local_path(image)), environment, self._record.folder / "packages")

    def _finish(self, trees: dict[str, HostTree], ending: _Ending) -> None:
        self._enter("Stopping" if ending.stopped else "InProgress", "Uploading")
        reason = None if ending.stopped else _failure(trees, ending.exit_codes)
        try:
            models = [collect(tree, self._output) for tree in trees.values()]
            for host, tree in trees.items():
                keep_written(tree.code, self._code[host], self._output / "code")
        except OSError as error:
            lost = (
                f"the job's outputs could not be collected in {self._output}: {_told(error)}; "
                f"they are kept in {self._record.hosts}"
            )
            self._fail(lost if reason is None else f"{reason}; also, {lost}")
            return
        # All of it is in the output folder: clutter that cannot be removed harms nobody.
        shutil.rmtree(self._record.hosts, ignore_errors=True)
        shutil.rmtree(self._record.folder / "packages", ignore_errors=True)
        if reason is not None:
            self._fail(reason)
            return
        primary = "Stopped" if ending.stopped else "Completed"
        model = file_uri(models[0])
        self._write(
            ended(self._status, primary, time.time(), secondary=ending.stopped, model=model)
        )

    def _fail(self, reason: str) -> None:
        self._write(ended(self._status, "Failed", time.time(), reason=reason))

    def _enter(self, primary: str, secondary: str) -> None:
        self._write(entered(self._status, primary, secondary, time.time()))

    def _write(self, status: dict[str, object]) -> None:
        self._status = status
        self._record.write_status(status)


def _exit_codes(running: dict[str, RunningHost]) -> dict[str, int]:
    codes = {host: each.exit_code() for host, each in running.items()}
    return {host: code for host, code in codes.items() if code is not None}


def _failure(trees: dict[str, HostTree], exit_codes: dict[str, int]) -> str | None:
    """Why the job failed, None when it did not: exit code and success file must agree."""
    for host, tree in trees.items():
        code = exit_codes[host]
        if code == 0 and (tree.output / "success").exists():
            continue
        told = _read_failure(tree)
        if told:
            return told
        if code == 0:
            return "the job ended with exit code 0 but did not say that it succeeded"
        if shutil.disk_usage(tree.base).free < _FULL_DISK_BYTES:
            return f"exit code {code}, and the disk of {tree.base} is full: {_ROOM}"
        killed = ": it was killed, for lack of memory perhaps" if code == _SIGKILL_CODE else ""
        return f"exit code {code}{killed}"
    return None


def _read_failure(tree: HostTree) -> str:
    try:
        text = (tree.output / "failure").read_text("utf-8", errors="replace")
    except OSError:
        return ""
    return text[:MAX_REASON].strip()


_ROOM = "make room, or set SIFT_LAUNCHER_HOME (and --output) to a folder on another disk"


def _told(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    mend = "" if isinstance(error, FileNotFoundError) else f"; {_ROOM}"
    return f"{error.strerror or error}{where}{mend}"


if __name__ == "__main__":
    main(sys.argv[1])
