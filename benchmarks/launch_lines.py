"""Following a log that gets ten thousand lines a second."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

from benchmarks.launch_server import REGION, Server

LINES_PER_SECOND = 10_000
SECONDS = 5
_TICKS = 20  # a second
_BATCH = LINES_PER_SECOND // _TICKS
_NUMBER = re.compile(rb"^step=(\d{7}) ", re.MULTILINE)
_TEXT = "step={:07d} loss=0.693147 accuracy=0.512345 learning_rate=0.001000"

_SCRIPT = f"""
import time
start = time.monotonic()
for tick in range({SECONDS * _TICKS}):
    first = tick * {_BATCH}
    print("\\n".join({_TEXT!r}.format(first + number) for number in range({_BATCH})), flush=True)
    time.sleep(max(0, start + (tick + 1) / {_TICKS} - time.monotonic()))
print("last line at", time.time(), flush=True)
"""


def here(folder: Path) -> tuple[float, int]:
    """How far the command is behind a job of this machine at its end, and the lines it lost."""
    folder.mkdir(parents=True)
    (folder / "train.py").write_text(_SCRIPT)
    options = ["--no-sift", "--output", str(folder / "output")]
    env = os.environ | {"SIFT_LAUNCHER_HOME": str(folder / "home")}
    command = [sys.executable, "-m", "sift_launcher", *options, str(folder / "train.py")]
    told, behind = b"", float("inf")
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        while content := process.stdout.read1():
            told += content
            if behind == float("inf") and (
                last := re.search(rb"last line at (\S+)\n", told[-200:])
            ):
                behind = time.time() - float(last[1])
    return behind, _lost(told)


def in_the_cloud(server: Server) -> tuple[float, int]:
    """The same of a job in SageMaker, whose lines come to CloudWatch Logs as fast."""
    from sift_launcher.catalogue import CloudEntry
    from sift_launcher.cloud.client import Clients
    from sift_launcher.cloud.job import CloudJob
    from sift_launcher.cloud.watch import CloudJobWatch

    os.environ.update(server.environment)
    put = _stream(server, "followed")
    endpoint = server.environment["AWS_ENDPOINT_URL"]
    entry = CloudEntry("followed", "arn", REGION, "ml.m5.xlarge", 1, time.time(), endpoint=endpoint)
    _, log = CloudJob(entry, Clients(REGION, None, endpoint)).asking()
    ended = [float("inf")]
    running = {"SecondaryStatus": "Training", "CreationTime": entry.created}

    def status() -> dict[str, Any]:  # for moto's jobs end at once
        is_over = ended[0] < float("inf")
        return running | {"TrainingJobStatus": "Completed" if is_over else "InProgress"}

    def write() -> None:
        start = time.monotonic()
        for tick in range(SECONDS * _TICKS):
            put(range(tick * _BATCH, (tick + 1) * _BATCH))
            time.sleep(max(0.0, start + (tick + 1) / _TICKS - time.monotonic()))
        ended[0] = time.monotonic()

    told = b""
    writer = Thread(target=write)
    writer.start()
    last = f"step={SECONDS * LINES_PER_SECOND - 1:07d}".encode()
    with closing(CloudJobWatch("followed", status, log, status())) as watch:
        while last not in told[-1000:] and time.monotonic() < ended[0] + 60:
            watch.status()
            told += b"".join(watch.read())
            time.sleep(0.02)
        seen = time.monotonic()
    writer.join()
    return max(0.0, seen - ended[0]), _lost(told)


def _stream(server: Server, name: str) -> Callable[[range], None]:
    """What puts the lines of those numbers into the log of the job's only host."""
    logs: Any = server.client("logs")
    group, stream = "/aws/sagemaker/TrainingJobs", f"{name}/algo-1-1700000000"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=stream)

    def put(numbers: range) -> None:
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": _TEXT.format(number)} for number in numbers]
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)

    return put


def _lost(told: bytes) -> int:
    """How many lines are missing, or came twice or out of order."""
    numbers = [int(number) for number in _NUMBER.findall(told)]
    if numbers == sorted(set(numbers)):
        return SECONDS * LINES_PER_SECOND - len(numbers)
    return SECONDS * LINES_PER_SECOND
