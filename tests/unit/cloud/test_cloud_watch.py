"""Watching a cloud job: nothing is lost, whatever the connection does, and no test waits."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aws_stand_in import StandInAws
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from played_sagemaker import (
    PlayedClients,
    PlayedSageMaker,
    Prints,
    described,
    ended,
    entry,
    refusal,
)

from sift_launcher.cloud.job import CloudJob
from sift_launcher.cloud.watch import Notice, Observer
from sift_launcher.errors import AccessDenied, CredentialsError, ResourceNotFound
from sift_launcher.local.status import Status


class Time:
    """Goes on when somebody sleeps, and does what was planned for that moment."""

    def __init__(self) -> None:
        self.now = 0.0
        self._planned: list[tuple[float, Callable[[], None]]] = []

    def at(self, seconds: float, do: Callable[[], None]) -> None:
        self._planned.append((seconds, do))

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds + 0.01  # asking takes time too
        for each in [each for each in self._planned if each[0] <= self.now]:
            self._planned.remove(each)
            each[1]()


class Watched:
    """A job that is observed in a time of its own."""

    def __init__(self, aws: StandInAws, *states: Any, count: int = 1) -> None:
        self.time = Time()
        self.prints = Prints(aws)
        self.sagemaker = PlayedSageMaker(*states)
        self.logs = Flaky(aws.client("logs"))
        self.job = CloudJob(entry(count=count), PlayedClients(aws, self.sagemaker, logs=self.logs))
        self.notices: list[str] = []
        self.secondary: list[str] = []
        self.log = ""

    def end(self, **more: Any) -> None:
        self.sagemaker.go_over_to(ended(**more))

    def observe(self) -> Status:
        status: Status = {}
        for event in self.events():
            if isinstance(event, bytes):
                self.log += event.decode()
            elif isinstance(event, Notice):
                self.notices.append(event.text)
            else:
                status = event
                self.secondary.append(event["SecondaryStatus"])
        return status

    def events(self) -> Iterator[Any]:
        ask, log = self.job.asking()
        return Observer("job", ask, log, clock=self.time.clock, sleep=self.time.sleep).events()


class Flaky:
    """A client that raises what it is told to, then answers again."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.errors: list[Exception] = []
        self.asked_at: list[float] = []
        self.time: Time | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_log_events(self, **request: Any) -> Any:
        if self.time is not None:
            self.asked_at.append(self.time.now)
        if self.errors:
            raise self.errors.pop(0)
        return self._client.get_log_events(**request)


LOST = EndpointConnectionError(endpoint_url="https://logs.us-east-1.amazonaws.com")
SILENT = ReadTimeoutError(endpoint_url="https://logs.us-east-1.amazonaws.com", error="")


def test_the_log_is_complete_before_the_end_is_told(aws: StandInAws):
    watched = Watched(aws, described("Training"))
    watched.prints("algo-1-1", "one")
    watched.time.at(2, lambda: watched.prints("algo-1-1", "two"))
    watched.time.at(3, watched.end)
    watched.time.at(3.5, lambda: watched.prints("algo-1-1", "late"))
    assert watched.observe()["TrainingJobStatus"] == "Completed"
    assert watched.log == "one\ntwo\nlate\n"
    assert watched.secondary[-1] == "Completed"
    assert set(watched.secondary[:-1]) == {"Training"}
    assert watched.time.now < 6


def test_the_log_is_looked_at_every_second_at_least(aws: StandInAws):
    watched = Watched(aws, described("Training"), count=20)
    watched.logs.time = watched.time
    for host in range(1, 21):
        watched.prints(f"algo-{host}-1", f"host {host}")
    watched.time.at(12, watched.end)
    watched.observe()
    times = sorted(set(watched.logs.asked_at))
    assert max(after - before for before, after in itertools.pairwise(times)) <= 1.0
    while_running = [time for time in watched.logs.asked_at if 2 <= time < 10]
    assert len(while_running) / 8 <= 25  # CloudWatch's limit of an account
    assert len(watched.log.splitlines()) == 20


def test_under_load_it_is_looked_at_again_at_once(aws: StandInAws):
    watched = Watched(aws, described("Training"))
    lines = [f"line {number}" for number in range(30_000)]
    watched.prints("algo-1-1", *lines)
    after_a_second: list[str] = []
    watched.time.at(1, lambda: after_a_second.append(watched.log))
    watched.time.at(1, watched.end)
    watched.observe()
    assert after_a_second[0].splitlines() == lines  # three pages


def test_a_log_that_begins_late_is_waited_for_when_the_job_has_trained(aws: StandInAws):
    watched = Watched(aws, described("Training"), ended())
    watched.time.at(5, lambda: watched.prints("algo-1-1", "at last"))
    watched.observe()
    assert watched.log == "at last\n"


def test_a_job_that_never_trained_is_not_waited_for(aws: StandInAws):
    failed = described("Failed", "Failed", FailureReason="CapacityError: no capacity")
    watched = Watched(aws, described("Starting"), failed)
    assert watched.observe()["FailureReason"] == "CapacityError: no capacity"
    assert watched.time.now < 3


def test_a_job_that_has_ended_is_told_at_once(aws: StandInAws):
    watched = Watched(aws, ended())
    watched.prints("algo-1-1", "one")
    watched.observe()
    assert watched.log == "one\n"
    assert watched.time.now < 1


def test_a_log_that_never_says_it_is_at_its_end_is_given_up(aws: StandInAws):
    watched = Watched(aws, ended())
    watched.prints("algo-1-1", "one")
    tokens = iter(range(1000))
    real = watched.logs._client

    class Restless:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def get_log_events(self, **request: Any) -> Any:
            first = "nextToken" not in request
            events = [{"timestamp": 1, "message": "one"}] if first else []
            return {"events": events, "nextForwardToken": f"f/{next(tokens)}"}

    watched.job = CloudJob(
        watched.job.entry, PlayedClients(aws, watched.sagemaker, logs=Restless())
    )
    watched.observe()
    assert watched.log == "one\n"
    assert 30 <= watched.time.now < 40


@pytest.mark.parametrize("error", [LOST, SILENT, refusal("InternalFailure", status=500)])
def test_a_lost_connection_is_got_over_and_told_in_two_lines(aws: StandInAws, error: Exception):
    watched = Watched(aws, described("Training"))
    watched.prints("algo-1-1", "one")
    watched.time.at(1, lambda: watched.logs.errors.extend([error] * 8))
    watched.time.at(1, lambda: watched.prints("algo-1-1", "two"))
    watched.time.at(100, watched.end)
    assert watched.observe()["TrainingJobStatus"] == "Completed"
    assert watched.log == "one\ntwo\n"
    assert len(watched.notices) == 2
    assert watched.notices[0].startswith("the connection is lost (")
    assert watched.notices[0].endswith("); job job goes on, and is asked for again")
    assert watched.notices[1] == "the connection is back"


def test_waits_between_attempts_grow_to_half_a_minute(aws: StandInAws):
    watched = Watched(aws, described("Training"))
    watched.prints("algo-1-1", "one")
    watched.logs.time = watched.time
    watched.logs.errors.extend([LOST] * 9)
    watched.time.at(125, watched.end)
    watched.observe()
    times = watched.logs.asked_at[:10]
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert [round(wait, 1) for wait in waits] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_status_that_cannot_be_had_ends_nothing(aws: StandInAws):
    watched = Watched(aws, described("Training"), LOST, SILENT, refusal("Throttling"), ended())
    assert watched.observe()["TrainingJobStatus"] == "Completed"
    assert watched.notices[-1] == "the connection is back"


def test_throttling_is_got_over_without_a_word(aws: StandInAws):
    watched = Watched(aws, described("Training"), refusal("ThrottlingException"), ended())
    watched.prints("algo-1-1", "one")
    watched.logs.errors.extend([refusal("ThrottlingException")] * 3)
    watched.observe()
    assert watched.log == "one\n"
    assert watched.notices == []


def test_a_log_that_may_not_be_read_is_said_once_and_the_job_is_followed(aws: StandInAws):
    watched = Watched(aws, described("Training"))
    watched.prints("algo-1-1", "one")
    denied = refusal("AccessDeniedException", "User: arn:aws:iam::1:user/me is not authorized")
    watched.logs.errors.extend([denied] * 100)
    watched.time.at(5, watched.end)
    assert watched.observe()["TrainingJobStatus"] == "Completed"
    (notice,) = watched.notices
    assert "lacks the permission logs:GetLogEvents" in notice
    assert notice.endswith("job job is followed without its log")


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (refusal("ExpiredTokenException"), CredentialsError),
        (refusal("AccessDeniedException"), AccessDenied),
    ],
)
def test_what_does_not_pass_by_itself_is_raised(
    aws: StandInAws, error: Exception, raised: type[Exception]
):
    watched = Watched(aws, described("Training"), error)
    with pytest.raises(raised):
        watched.observe()


def test_a_rehearsal_that_is_ended_does_not_come_back(
    aws: StandInAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SIFT_LAUNCHER_HOME", str(tmp_path))
    watched = Watched(aws, described("Training"), LOST)
    played = entry(is_rehearsal=True, endpoint="http://127.0.0.1:1")
    watched.job = CloudJob(played, PlayedClients(aws, watched.sagemaker))
    with pytest.raises(ResourceNotFound, match="the rehearsal that ran job job has ended"):
        watched.observe()


def test_hosts_that_come_one_after_the_other_are_all_shown(aws: StandInAws):
    watched = Watched(aws, described("Training"), count=2)
    watched.prints("algo-1-1", "one")
    watched.time.at(3, lambda: watched.prints("algo-2-1", "eins"))
    watched.time.at(10, lambda: watched.prints("algo-2-99", "wieder"))
    watched.time.at(12, watched.end)
    watched.observe()
    assert watched.log.splitlines() == ["algo-1 | one", "algo-2 | eins", "algo-2 | wieder"]


def test_a_watch_never_waits_and_tells_the_end_with_all_of_the_log(aws: StandInAws):
    answers = threading.Event()
    watched = Watched(aws, described("Training"))
    ask = watched.sagemaker.describe_training_job

    def slow(**request: Any) -> Any:
        answers.wait(120)
        return ask(**request)

    watched.sagemaker.describe_training_job = slow
    watched.prints("algo-1-1", "one")
    watch = watched.job.watch()
    assert watch.status()["SecondaryStatus"] == "Starting"
    assert list(watch.read()) == []
    watched.end()
    answers.set()
    content = b""
    while watch.status()["TrainingJobStatus"] != "Completed":
        content += b"".join(watch.read())
    content += b"".join(watch.read()) + b"".join(watch.rest())
    watch.close()
    assert content == b"one\n"


def test_what_watching_came_to_is_raised_where_it_is_looked_at(aws: StandInAws):
    watched = Watched(aws, refusal("ExpiredTokenException"))
    watch = watched.job.watch()
    with pytest.raises(CredentialsError):
        while True:
            watch.status()
    watch.close()


def test_a_watch_that_is_closed_asks_nothing_more(aws: StandInAws):
    watched = Watched(aws, described("Training"))
    watch = watched.job.watch()
    watch.close()
    watch._thread.join(120)
    assert not watch._thread.is_alive()


class Wire:
    """A connection to a server that can be cut: nobody answers then, and what was open breaks."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._open: list[socket.socket] = []
        # Bound as long as the wire lasts: while it is cut, nobody else gets its port.
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind(("127.0.0.1", 0))
        self.address = self._port.getsockname()
        self.mend()

    def cut(self) -> None:
        for each in (self._listener, *self._open):
            # What a thread waits for ends with this, and not with its being closed.
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def mend(self) -> None:
        self._listener = socket.create_server(self.address)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def end(self) -> None:
        self.cut()
        self._port.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                ours, _ = listener.accept()
                theirs = socket.create_connection(self._address)
                self._open += [ours, theirs]
                for pair in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(1 << 16):
                target.sendall(content)
            target.shutdown(socket.SHUT_WR)


def test_a_wire_that_is_cut_while_a_job_is_followed_loses_no_line(aws: StandInAws):
    port = int(aws.endpoint.rpartition(":")[2])
    wire = Wire(("127.0.0.1", port))
    logs = StandInAws(f"http://127.0.0.1:{wire.address[1]}").client("logs")
    watched = Watched(aws, described("Training"))
    watched.prints("algo-1-1", "one")
    watch = CloudJob(entry(), PlayedClients(aws, watched.sagemaker, logs=logs)).watch()
    content, notices = b"", []

    def look_until(seen: Callable[[], bool]) -> None:
        nonlocal content
        deadline = time.monotonic() + 120
        while not seen():
            assert time.monotonic() < deadline
            watch.status()
            content += b"".join(watch.read())
            notices.extend(watch.notices())
            time.sleep(0.01)

    look_until(lambda: content == b"one\n")
    wire.cut()
    watched.prints("algo-1-1", "two")
    look_until(lambda: len(notices) == 1)
    wire.mend()
    look_until(lambda: content == b"one\ntwo\n")
    watch.close()
    wire.end()
    assert notices[0].startswith("the connection is lost (")
    assert notices[1] == "the connection is back"
