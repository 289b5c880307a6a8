from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sift_launcher.local.records import JobRecord, JobRecords
from sift_launcher.local.status import created, ended, entered
from sift_launcher.rehearsal import log_shipper as module
from sift_launcher.rehearsal.log_shipper import GROUP, LogShipper

REQUEST = {
    "TrainingJobName": "a",
    "AlgorithmSpecification": {"MetricDefinitions": [{"Name": "m", "Regex": "m=(.*)"}]},
}


class FakeLogs:
    """Keeps what it is given, as a client of CloudWatch Logs does."""

    class exceptions:
        ResourceAlreadyExistsException = FileExistsError

    def __init__(self) -> None:
        self.groups: list[str] = []
        self.streams: dict[str, list[str]] = {}

    def create_log_group(self, logGroupName: str) -> None:
        if logGroupName in self.groups:
            raise FileExistsError
        self.groups.append(logGroupName)

    def create_log_stream(self, logGroupName: str, logStreamName: str) -> None:
        assert logStreamName not in self.streams
        self.streams[logStreamName] = []

    is_busy = False

    def put_log_events(
        self, logGroupName: str, logStreamName: str, logEvents: list[dict[str, Any]]
    ) -> None:
        if self.is_busy:
            raise TimeoutError
        self.streams[logStreamName] += [event["message"] for event in logEvents]


@pytest.fixture
def record(tmp_path: Path) -> JobRecord:
    record, lock = JobRecords(tmp_path).create("a", REQUEST, {}, created(1.0))
    os.close(lock)
    return record


@pytest.fixture
def shipped(record: JobRecord, monkeypatch: pytest.MonkeyPatch):
    """A shipper that ships when it is told to, its streams, and the clock's hands."""
    monkeypatch.setattr(module, "_EACH_SECONDS", 3600.0)
    monkeypatch.setattr(module.time, "time", lambda: 1000.0)
    logs = FakeLogs()
    shipper = LogShipper(lambda: logs)
    shipper.add(record)

    def ship() -> dict[str, list[str]]:
        shipper.ship("a")
        return logs.streams

    yield ship
    shipper.close()
    assert logs.groups in ([], [GROUP])


def write(record: JobRecord, text: str, host: str = "algo-1") -> None:
    with (record.logs / f"{host}.log").open("a") as file:
        file.write(text)


def test_each_host_has_a_stream_named_by_the_second_of_its_first_line(record, shipped):
    assert shipped() == {}
    write(record, "one\ntw")
    assert shipped() == {"a/algo-1-1000": ["one"]}
    write(record, "o\n")
    write(record, "hello\n", "algo-2")
    assert shipped() == {"a/algo-1-1000": ["one", "two"], "a/algo-2-1000": ["hello"]}


def test_a_start_after_an_interruption_begins_a_new_stream(record, shipped):
    write(record, "first\nhal")
    status = entered(record.status(), "InProgress", "Training", 2.0)
    status = entered(status, "InProgress", "Interrupted", 3.0)
    record.write_status(status)
    assert shipped() == {"a/algo-1-1000": ["first"]}
    record.mark_start()
    record.write_status(entered(status, "InProgress", "Starting", 4.0))
    write(record, "second\n")  # before anybody looks
    # In the same second, and under another name all the same.
    assert shipped() == {"a/algo-1-1000": ["first", "hal"], "a/algo-1-1001": ["second"]}


def test_a_job_that_has_ended_has_its_last_line_too(record, shipped):
    write(record, "one\nlast")
    record.write_status(ended(record.status(), "Completed", 9.0))
    assert shipped() == {"a/algo-1-1000": ["one", "last"]}


def test_metrics_are_those_of_the_log(record, shipped):
    logs = FakeLogs()
    shipper = LogShipper(lambda: logs)
    shipper.add(record)
    write(record, "m=1\nm=2\n")
    shipper.ship("a")
    assert shipper.metrics("a") == [{"MetricName": "m", "Value": 2.0, "Timestamp": 1000.0}]
    assert shipper.metrics("unknown") == []
    shipper.close()


def test_what_did_not_get_there_is_sent_again(record):
    logs = FakeLogs()
    shipper = LogShipper(lambda: logs)
    shipper.close()  # nobody ships but this test
    shipper.add(record)
    write(record, "one\n")
    logs.is_busy = True
    with pytest.raises(TimeoutError):
        shipper.ship("a")
    logs.is_busy = False
    write(record, "two\n")
    shipper.ship("a")
    assert list(logs.streams.values()) == [["one", "two"]]
    shipper.close()
