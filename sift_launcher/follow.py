"""Following a job: its log as it grows, until the job has ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

from sift_launcher.console import LiveLog
from sift_launcher.jobs import Job, Watch
from sift_launcher.local.status import ENDED, Status

_POLL_SECONDS = 0.02
_STATUS_SECONDS = 0.5
_WAITING = frozenset({"Starting", "Pending", "Interrupted", "Restarting"})
"""Secondary statuses in which SageMaker says in a message what it is waiting for."""


def follow(job: Job, log: LiveLog, each_time: Callable[[], None] = lambda: None) -> Status:
    """Writes all of the job's log to `log` as it comes; returns the status it ended with.

    `each_time` is called at every look at the job, fifty times a second.
    """
    next_status = 0.0
    interruptions = 0
    with closing(job.watch()) as watch:
        while True:
            each_time()
            # Asked before the log is read: what is there once the job has ended is all there is.
            status = watch.status()
            for content in watch.read():
                log.write(content)
            for notice in watch.notices():
                log.say(notice)
            if status["TrainingJobStatus"] in ENDED:
                for content in watch.rest():
                    log.write(content)
                return status
            if (now := _interruptions(status)) > interruptions:
                interruptions = now
                log.say(
                    f"job {job.name} lost its spot instance (interruption {now}); it goes on from "
                    "its last checkpoint when there is another"
                )
            if time.monotonic() >= next_status:
                log.show(_status_line(job, watch, status))
                next_status = time.monotonic() + _STATUS_SECONDS
            time.sleep(_POLL_SECONDS)


def _interruptions(status: Status) -> int:
    transitions = status.get("SecondaryStatusTransitions", ())
    return sum(each["Status"] == "Interrupted" for each in transitions)


def _status_line(job: Job, watch: Watch, status: Status) -> str:
    words = [job.name, _state(status)]
    if (seen := watch.glimpse()) is not None:
        kept = f"kept {seen.kept_share:.0%}" if seen.kept_share is not None else seen.tier
        words += [f"step {seen.step}", kept]
    words.append(_clock(time.time() - status["CreationTime"]))
    if (cost := job.cost(status)) is not None and cost.dollars > 0:
        words.append(f"{cost} so far")
    if count := _interruptions(status):
        words.append(f"{count} interruption{'s' if count > 1 else ''}")
    return " · ".join(words)


def _state(status: Status) -> str:
    state = str(status["SecondaryStatus"])
    transitions = status.get("SecondaryStatusTransitions")
    message = str(transitions[-1].get("StatusMessage", "")) if transitions else ""
    return message if message and state in _WAITING else state.lower()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
