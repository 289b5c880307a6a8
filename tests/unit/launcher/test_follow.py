from __future__ import annotations

import io
import os
from pathlib import Path

from sift_launcher.console import LiveLog
from sift_launcher.follow import follow
from sift_launcher.local.records import JobRecords
from sift_launcher.local.service import LocalTrainingService
from sift_launcher.local.status import Status, created


class EndsWhenAsked(LocalTrainingService):
    """A job that prints its last line and ends at the very moment at which it is looked at."""

    def status(self, name: str) -> Status:
        with (self.record(name).logs / "algo-1.log").open("ab") as log:
            log.write(b"last line\n")
        return {"TrainingJobStatus": "Completed"}


def test_no_line_is_lost_that_comes_while_the_status_is_read(tmp_path: Path):
    _, lock = JobRecords(tmp_path).create("job", {}, {}, created(1.0))
    os.close(lock)
    stream = io.BytesIO()
    with LiveLog(stream, is_terminal=False) as log:
        status = follow(EndsWhenAsked(tmp_path), "job", log)
    assert status == {"TrainingJobStatus": "Completed"}
    assert stream.getvalue() == b"last line\n"
