"""Following a job: its log as it grows, until the job has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from sift_launcher.console import LiveLog
from sift_launcher.job_log import JobLog
from sift_launcher.local.records import JobRecord
from sift_launcher.local.service import LocalTrainingService
from sift_launcher.local.status import ENDED, Status
from sift_launcher.receipts import Glimpse, glimpse, live_receipt

_POLL_SECONDS = 0.02
_STATUS_SECONDS = 0.5


def follow(
    service: LocalTrainingService,
    name: str,
    log: LiveLog,
    each_time: Callable[[], None] = lambda: None,
) -> Status:
    """Writes all of the job's log to `log` as it comes; returns the status it ended with.

    `each_time` is called at every look at the job, fifty times a second.
    """
    record = service.record(name)
    job_log = JobLog(record)
    next_status = 0.0
    try:
        while True:
            each_time()
            # Asked before the log is read: what is there once the job has ended is all there is.
            status = service.status(name)
            for content in job_log.read():
                log.write(content)
            if status["TrainingJobStatus"] in ENDED:
                for content in job_log.rest():
                    log.write(content)
                return status
            if time.monotonic() >= next_status:
                log.show(_status_line(record, status))
                next_status = time.monotonic() + _STATUS_SECONDS
            time.sleep(_POLL_SECONDS)
    finally:
        job_log.close()


def log_content(record: JobRecord) -> Iterator[bytes]:
    """The log as it is now, in pieces."""
    job_log = JobLog(record)
    try:
        yield from job_log.read()
        yield from job_log.rest()
    finally:
        job_log.close()


def _status_line(record: JobRecord, status: Status) -> str:
    elapsed = _clock(time.time() - status["CreationTime"])
    words = [record.name, status["SecondaryStatus"].lower(), elapsed]
    seen: Glimpse | None = None
    with suppress(OSError, ValueError, KeyError):  # no receipt yet: nothing to show of it
        seen = glimpse(live_receipt(record))
    if seen is not None:
        words.insert(2, f"step {seen.step}")
        words.insert(3, f"kept {seen.kept_share:.0%}" if seen.kept_share is not None else seen.tier)
    return " · ".join(words)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
