"""What a service leaves for a job's supervisor to find."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from sift_launcher.errors import JobHasEnded
from sift_launcher.local.records import JobRecords
from sift_launcher.local.service import LocalTrainingService
from sift_launcher.local.status import created, ended


def test_a_job_that_ends_the_moment_it_hears_of_it_is_killed_without_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    service = LocalTrainingService(tmp_path)
    record, lock = JobRecords(tmp_path).create("job", {}, {}, created(1.0))
    record.write_pid(7)
    told: list[tuple[int, int, bool, bool]] = []

    def tell(pid: int, number: int) -> None:
        told.append((pid, number, record.is_asked("stop"), record.is_asked("kill")))
        record.write_status(ended(record.status(), "Stopped", 2.0))

    monkeypatch.setattr("sift_launcher.local.service.os.kill", tell)
    service.kill_training_job(TrainingJobName="job")
    assert told == [(7, signal.SIGTERM, True, True)]
    with pytest.raises(JobHasEnded, match=r"job job is over \(Stopped\): there is nothing to stop"):
        service.kill_training_job(TrainingJobName="job")
    os.close(lock)
