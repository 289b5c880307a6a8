"""Watching a cloud job: its state and its log, asked of AWS again and again.

`Observer` asks, one thing after the other, and gets over lost connections and throttling;
`CloudJobWatch` has it do so in a thread, so that a command answers Ctrl-C whatever the network
does.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from sift_launcher.cloud.log import CloudLog
from sift_launcher.cloud.passing import Passing
from sift_launcher.errors import AccessDenied
from sift_launcher.local.status import ENDED, Status

if TYPE_CHECKING:
    from sift_launcher.receipts import Glimpse

_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 30.0
_STATUS_SECONDS = (0.5, 5.0)
"""Between two questions for the status: of a job watched for a minute, and for five or more."""
_LOG_SECONDS = 0.4
_LOG_REQUESTS_A_SECOND = 22  # of the 25 that an account has: its quota of GetLogEvents
_NEW_HOSTS_SECONDS = 1.0
_NEW_STREAMS_SECONDS = 10.0
_LATE_SECONDS = 1.0
"""A log is complete when it has not grown for so long after the job's end."""
_NO_LOG_SECONDS = 10.0
"""So long after the end a job that has trained is waited for to have a log at all."""
_LATEST_SECONDS = 30.0
"""And for so long a log that neither grows nor says that it is at its end."""

_QUEUED_EVENTS = 64
_CLOSE_SECONDS = 0.2

T = TypeVar("T")


@dataclass(frozen=True)
class Notice:
    """What the user should know of the watching itself, in one line."""

    text: str


Event: TypeAlias = "Status | bytes | Notice"


class Observer:
    """One job's state and log as events, in their order."""

    def __init__(
        self,
        name: str,
        ask: Callable[[], Status],
        log: CloudLog,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """`ask` fetches the status; it and `log` raise Passing for what passes by itself."""
        self._name = name
        self._ask = ask
        self._log = log
        self._clock = clock
        self._sleep = sleep
        self._is_log_readable = True
        self._next_discovery = clock()

    def events(self) -> Iterator[Event]:
        """States, pieces of the log, and notices. The last one is the status that the job ended
        with, after all of its log."""
        begun = next_status = self._clock()
        was_running = False
        while True:
            if self._clock() >= next_status:
                status = yield from self._patiently(self._ask)
                if status["TrainingJobStatus"] in ENDED:
                    yield from self._remaining_log(status, _LATE_SECONDS if was_running else 0.0)
                    yield status
                    return
                yield status
                was_running = True
                often, seldom = _STATUS_SECONDS
                next_status = self._clock() + min(seldom, max(often, (self._clock() - begun) / 60))
            yield from self._news()
            self._sleep(self._pause())

    def _remaining_log(self, status: Status, late_seconds: float) -> Generator[Event, None, None]:
        """What the log still gets after the job's end: CloudWatch takes its time."""
        has_trained = "TrainingStartTime" in status
        end = last_news = self._clock()
        quiet_since: float | None = None
        while self._is_log_readable:
            self._next_discovery = self._clock()
            has_news = yield from self._news()
            now = self._clock()
            if has_news:
                last_news = now
            is_awaited = has_trained and self._log.hosts == 0 and now < end + _NO_LOG_SECONDS
            if has_news or is_awaited or not self._log.is_at_the_end:
                quiet_since = None
            elif quiet_since is None:
                quiet_since = now
            if quiet_since is not None and now - quiet_since >= late_seconds:
                return
            if now - last_news >= _LATEST_SECONDS:
                return
            if not has_news:
                self._sleep(_LOG_SECONDS)

    def _news(self) -> Generator[Event, None, bool]:
        """What the log has got; whether that was anything."""
        if not self._is_log_readable:
            return False
        try:
            if self._clock() >= self._next_discovery:
                yield from self._patiently(self._log.discover)
                missing = self._log.is_missing_hosts
                wait = _NEW_HOSTS_SECONDS if missing else _NEW_STREAMS_SECONDS
                self._next_discovery = self._clock() + wait
            pieces = yield from self._patiently(lambda: list(self._log.read()))
        except AccessDenied as error:
            self._is_log_readable = False
            yield Notice(f"{error}; job {self._name} is followed without its log")
            return False
        yield from pieces
        return bool(pieces)

    def _pause(self) -> float:
        if self._is_log_readable and self._log.is_behind:
            return 0.0
        return max(_LOG_SECONDS, self._log.hosts / _LOG_REQUESTS_A_SECOND)

    def _patiently(self, ask: Callable[[], T]) -> Generator[Event, None, T]:
        """What `ask` returns, asked again after growing waits while AWS does not answer."""
        wait = _FIRST_WAIT_SECONDS
        is_lost = False
        while True:
            try:
                answer = ask()
            except Passing as error:
                if not (error.is_throttling or is_lost):
                    is_lost = True
                    yield Notice(
                        f"the connection is lost ({error}); job {self._name} goes on, and is asked "
                        "for again"
                    )
                self._sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
            else:
                if is_lost:
                    yield Notice("the connection is back")
                return answer


class CloudJobWatch:
    """A cloud job that is being followed. No call waits for the network."""

    def __init__(
        self,
        name: str,
        ask: Callable[[], Status],
        log: CloudLog,
        first: Status,
    ) -> None:
        """`first` stands for the status until AWS has told it."""
        self._log = log
        self._status = first
        self._pieces: list[bytes] = []
        self._notices: list[str] = []
        self._failure: BaseException | None = None
        self._queue: queue.Queue[Event | BaseException] = queue.Queue(_QUEUED_EVENTS)
        self._closed = threading.Event()
        observer = Observer(name, ask, log, sleep=self._sleep)
        self._thread = threading.Thread(target=self._observe, args=(observer,), daemon=True)
        self._thread.start()

    def status(self) -> Status:
        """What is known of the job now. Raises what watching it came to, once all before is read.

        That it has ended is told only when all of its log is there to be read.
        """
        if self._failure is not None:
            raise self._failure
        for _ in range(self._queue.qsize()):
            self._take(self._queue.get())
        return self._status

    def read(self) -> Iterator[bytes]:
        """What the log has got since the last call."""
        pieces, self._pieces = self._pieces, []
        return iter(pieces)

    def rest(self) -> Iterator[bytes]:
        """Nothing: CloudWatch has only whole lines."""
        return iter(())

    def notices(self) -> Iterator[str]:
        """What the user should know, such as that the connection is lost."""
        notices, self._notices = self._notices, []
        return iter(notices)

    def glimpse(self) -> Glimpse | None:
        """None: a receipt leaves the host at the job's end."""
        return None

    def close(self) -> None:
        """Ends the thread as soon as its last question is answered; does not wait for that."""
        self._closed.set()
        self._thread.join(_CLOSE_SECONDS)
        self._log.close()

    def _take(self, event: Event | BaseException) -> None:
        if isinstance(event, bytes):
            self._pieces.append(event)
        elif isinstance(event, Notice):
            self._notices.append(event.text)
        elif isinstance(event, BaseException):
            self._failure = event
        else:
            self._status = event

    def _observe(self, observer: Observer) -> None:
        try:
            for event in observer.events():
                self._put(event)
        except _Closed:
            return
        except Exception as error:  # noqa: BLE001 - raised again where the watch is looked at
            self._put(error)

    def _put(self, event: Event | BaseException) -> None:
        while not self._closed.is_set():
            try:
                return self._queue.put(event, timeout=_CLOSE_SECONDS)
            except queue.Full:
                continue  # whoever reads the log is slow
        return None

    def _sleep(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise _Closed


class _Closed(Exception):
    """Nobody watches any more."""
