"""CloudWatch's streams as one log: complete, in order, in whole lines."""

from __future__ import annotations

from typing import Any

import pytest
from aws_stand_in import StandInAws
from played_sagemaker import Prints

from sift_launcher.cloud.log import CloudLog


@pytest.fixture
def prints(aws: StandInAws) -> Prints:
    return Prints(aws)


def all_of(log: CloudLog) -> str:
    log.discover()
    content = b""
    while True:
        content += b"".join(log.read())
        if log.is_at_the_end:
            return content.decode()


def test_a_job_without_a_stream_has_no_log_yet(aws: StandInAws, prints: Prints):
    assert all_of(CloudLog(aws.client("logs"), "job", 1)) == ""


def test_the_first_job_of_an_account_has_no_group_yet(aws: StandInAws):
    assert all_of(CloudLog(aws.client("logs"), "job", 1)) == ""


def test_one_host_s_lines_come_as_they_were_printed(aws: StandInAws, prints: Prints):
    prints("algo-1-1", "one", "  two é", "three\n")
    assert all_of(CloudLog(aws.client("logs"), "job", 1)) == "one\n  two é\nthree\n"


def test_another_job_whose_name_begins_so_is_left_out(aws: StandInAws, prints: Prints):
    prints("algo-1-1", "mine")
    prints("algo-1-1", "its", job="job2")
    assert all_of(CloudLog(aws.client("logs"), "job", 1)) == "mine\n"


def test_hosts_lines_come_under_names_of_the_same_width(aws: StandInAws, prints: Prints):
    prints("algo-10-1", "ten", "more\nof ten")
    prints("algo-2-1", "two")
    log = CloudLog(aws.client("logs"), "job", 10)
    assert all_of(log).splitlines() == [
        "algo-2  | two",
        "algo-10 | ten",
        "algo-10 | more",
        "algo-10 | of ten",
    ]
    assert log.is_missing_hosts


def test_what_a_host_prints_after_a_restart_follows_what_it_printed_before(
    aws: StandInAws, prints: Prints
):
    prints("algo-1-200", "resumed")
    prints("algo-1-100", "begun", "interrupted")
    assert all_of(CloudLog(aws.client("logs"), "job", 1)) == "begun\ninterrupted\nresumed\n"


def test_a_stream_that_comes_later_is_read_on(aws: StandInAws, prints: Prints):
    log = CloudLog(aws.client("logs"), "job", 1)
    prints("algo-1-100", "begun")
    assert all_of(log) == "begun\n"
    prints("algo-1-100", "interrupted")
    prints("algo-1-200", "resumed")
    assert all_of(log) == "interrupted\nresumed\n"


def test_more_than_a_page_is_read_to_its_end(aws: StandInAws, prints: Prints):
    lines = [f"line {number}" for number in range(25_000)]
    prints("algo-1-1", *lines)
    assert all_of(CloudLog(aws.client("logs"), "job", 1)).splitlines() == lines


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("\r 10%\r 20%\r100%", "100%"),
        ("#015  0%| |#015 50%|=|#015100%|==|", "100%|==|"),
        ("#015100%|==|", "100%|==|"),
        (" 10%#015 20%#015", " 20%"),
        ("windows\r", "windows"),
        ("fixes issue #015 and #16", "fixes issue #015 and #16"),
        ("two\rredraws\nin\rone", "redraws\none"),
    ],
)
def test_of_a_progress_bar_the_last_state_is_shown(
    aws: StandInAws, prints: Prints, message: str, shown: str
):
    prints("algo-1-1", "before", message, "after")
    assert all_of(CloudLog(aws.client("logs"), "job", 1)) == f"before\n{shown}\nafter\n"


class Failing:
    """A client of which one stream cannot be had for a while."""

    def __init__(self, logs: Any, stream: str, failures: int) -> None:
        self._logs, self._stream, self._failures = logs, stream, failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._logs, name)

    def get_log_events(self, **request: Any) -> Any:
        if request["logStreamName"].endswith(self._stream) and self._failures:
            self._failures -= 1
            raise ConnectionError
        return self._logs.get_log_events(**request)


def test_no_page_is_lost_when_another_host_s_cannot_be_had(aws: StandInAws, prints: Prints):
    prints("algo-1-1", "one", "two")
    prints("algo-2-1", "eins", "zwei")
    log = CloudLog(Failing(aws.client("logs"), "algo-2-1", 2), "job", 2)
    log.discover()
    with pytest.raises(ConnectionError):
        list(log.read())
    prints("algo-1-1", "three")
    with pytest.raises(ConnectionError):
        list(log.read())
    assert all_of(log).splitlines() == [
        "algo-1 | one",
        "algo-1 | two",
        "algo-1 | three",
        "algo-2 | eins",
        "algo-2 | zwei",
    ]


def test_the_last_lines_are_those_of_all_hosts_by_their_times(aws: StandInAws, prints: Prints):
    prints("algo-2-1", "long ago", "before")
    prints("algo-1-1", "failed")
    prints("algo-2-1", "stopped")
    log = CloudLog(aws.client("logs"), "job", 2)
    assert log.last_lines(3) == ["algo-2 | before", "algo-1 | failed", "algo-2 | stopped"]
