"""Bringing what the jobs print to CloudWatch Logs while they run, as SageMaker does."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, BinaryIO

from sift_launcher.errors import SiftLaunchError
from sift_launcher.local.records import JobRecord
from sift_launcher.local.status import ENDED
from sift_launcher.rehearsal.log_lines import Lines, Metrics, batches

GROUP = "/aws/sagemaker/TrainingJobs"
_EACH_SECONDS = 0.1
_AT_ONCE_BYTES = 1 << 20


class LogShipper:
    """The logs of all jobs of a rehearsal. A thread ships them until it is closed."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        """`connect` makes botocore's client of CloudWatch Logs."""
        self._connect = cache(connect)
        self._jobs: dict[str, _JobLogs] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log shipper", daemon=True)
        self._thread.start()

    def warm_up(self) -> None:
        """Makes the client, which the first job would wait for."""
        self._connect()

    def add(self, record: JobRecord) -> None:
        """Ships the log of this job from now on."""
        self._jobs[record.name] = _JobLogs(self._connect(), record)

    def ship(self, name: str) -> None:
        """Returns when all that the job has printed so far is there."""
        if name in self._jobs:
            self._jobs[name].ship()

    def metrics(self, name: str) -> list[dict[str, Any]]:
        """The metrics seen in the job's log so far, as SageMaker's FinalMetricDataList."""
        return self._jobs[name].metrics.final() if name in self._jobs else []

    def close(self) -> None:
        """Ends the thread and lets go of the files."""
        self._closed.set()
        self._thread.join()
        for job in self._jobs.values():
            job.close()

    def _run(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        while not self._closed.wait(_EACH_SECONDS):
            for job in list(self._jobs.values()):
                # Its record is being taken away, or it will be shipped at the next look.
                with suppress(OSError, SiftLaunchError, BotoCoreError, ClientError):
                    job.ship()


class _JobLogs:
    """One job's log files and the streams that they become."""

    def __init__(self, logs: Any, record: JobRecord) -> None:
        self._logs = logs
        self._record = record
        definitions = record.request()["AlgorithmSpecification"].get("MetricDefinitions", [])
        self.metrics = Metrics(definitions)
        self._hosts: dict[str, _HostLog] = {}
        self._restarts = 0
        self._is_finished = False
        self._lock = threading.Lock()

    def ship(self) -> None:
        """Ships what is new, and of a job that has ended the rest."""
        with self._lock:
            if not self._is_finished:
                self._ship()

    def close(self) -> None:
        """Closes the files."""
        for host in self._hosts.values():
            host.close()

    def _ship(self) -> None:
        # Asked before the files are read: of a job that has ended, all is in them.
        status = self._record.status()
        for path in sorted(self._record.logs.glob("*.log")):
            if path.stem not in self._hosts:
                stream = f"{self._record.name}/{path.stem}"
                self._hosts[path.stem] = _HostLog(self._logs, stream, path.open("rb"), self.metrics)
        sizes = {name: host.size() for name, host in self._hosts.items()}
        # Asked after the sizes: an attempt that is not among them prints beyond those.
        for start in self._record.starts()[self._restarts :]:
            self._ship_up_to(start)
            self._end_lines()
            self._restarts += 1
        self._ship_up_to(sizes)
        if status["TrainingJobStatus"] in ENDED:
            self._is_finished = True
            self._end_lines()
            self.close()

    def _ship_up_to(self, sizes: Mapping[str, int]) -> None:
        for name, host in self._hosts.items():
            host.ship(sizes.get(name, 0))

    def _end_lines(self) -> None:
        for host in self._hosts.values():
            host.end()


class _HostLog:
    """One host's log file, shipped to a stream that is new after each start of its host."""

    def __init__(self, logs: Any, prefix: str, file: BinaryIO, metrics: Metrics) -> None:
        self._logs = logs
        self._prefix = prefix
        self._file = file
        self._metrics = metrics
        self._lines = Lines()
        self._unsent: list[bytes] = []
        self._stream: str | None = None
        self._begun = 0
        self._last_moment = 0

    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def ship(self, end: int) -> None:
        """Ships what is new of the file's first `end` bytes."""
        while content := self._file.read(min(max(end - self._file.tell(), 0), _AT_ONCE_BYTES)):
            self._put(self._lines.feed(content))

    def end(self) -> None:
        self._put(self._lines.end())
        self._stream = None

    def close(self) -> None:
        self._file.close()

    def _put(self, lines: Sequence[bytes]) -> None:
        self._metrics.search(lines, self._moment())
        self._unsent += lines
        if not self._unsent:
            return
        stream = self._stream = self._stream or self._new_stream()
        for batch in batches(list(self._unsent), self._moment()):
            self._logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=batch)
            # What did not get there is sent again with what comes next.
            del self._unsent[: len(batch)]

    def _moment(self) -> int:
        # A stream's events are sorted by their times: no clock may turn them round.
        self._last_moment = max(self._last_moment, int(time.time() * 1000))
        return self._last_moment

    def _new_stream(self) -> str:
        # Named by the second it begins, and never as the one before.
        self._begun = max(int(time.time()), self._begun + 1)
        stream = f"{self._prefix}-{self._begun}"
        self._make(self._logs.create_log_group, logGroupName=GROUP)
        self._make(self._logs.create_log_stream, logGroupName=GROUP, logStreamName=stream)
        return stream

    def _make(self, create: Callable[..., object], **names: str) -> None:
        with suppress(self._logs.exceptions.ResourceAlreadyExistsException):
            create(**names)
