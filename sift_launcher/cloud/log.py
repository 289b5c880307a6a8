"""A cloud job's log as CloudWatch keeps it, read page by page.

Each host of a job writes a stream `<job>/algo-<n>-<seconds>` of its own in one log group, and a new
one when it starts again after a spot interruption. A page holds at most 10,000 lines or 1 MB.
Source: the API reference of CloudWatch Logs, GetLogEvents and DescribeLogStreams.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from sift_launcher.job_log import last_redraw

GROUP = "/aws/sagemaker/TrainingJobs"
_MUCH = 500  # so many lines in a page: more have come meanwhile
_HOSTS_AT_ONCE = 8
_RETURN = "#015"  # how the service's log driver writes a carriage return


class CloudLog:
    """What is new in the streams of a job; for one thread. Methods raise as botocore does."""

    def __init__(self, logs: Any, name: str, count: int) -> None:
        """`logs`: botocore's client of CloudWatch Logs. `count`: how many hosts the job has."""
        self._logs = logs
        self._prefix = f"{name}/"
        self._count = count
        self._width = len(f"algo-{count}") if count > 1 else 0
        self._hosts: dict[str, _Host] = {}
        self._pool: ThreadPoolExecutor | None = None

    @property
    def is_missing_hosts(self) -> bool:
        """Whether some host has not written anything yet."""
        return len(self._hosts) < self._count

    def discover(self) -> None:
        """Looks for streams that have come."""
        for stream in sorted(self._streams(), key=_host_and_start):
            host, _ = _host_and_start(stream)
            if host not in self._hosts:
                label = f"{host:{self._width}} | " if self._width else ""
                self._hosts[host] = _Host(self._logs, label)
            self._hosts[host].add(stream)

    def read(self) -> Iterator[bytes]:
        """At most a page of every host, in whole lines.

        When a host's page cannot be had, its error is raised; the others' pages come at the next
        call.
        """
        hosts = sorted(self._hosts.items(), key=lambda item: (len(item[0]), item[0]))
        self._ask([host for _, host in hosts])
        for _, host in hosts:
            if content := host.take():
                yield content

    @property
    def is_at_the_end(self) -> bool:
        """Whether the last pages said that nothing more is there now."""
        return all(host.is_at_the_end for host in self._hosts.values())

    @property
    def is_behind(self) -> bool:
        """Whether some host printed so much that more of it is there already."""
        return any(host.is_behind for host in self._hosts.values())

    @property
    def hosts(self) -> int:
        """How many hosts have written something."""
        return len(self._hosts)

    def last_lines(self, count: int) -> list[str]:
        """The last lines of all hosts, by their times."""
        self.discover()
        last = [
            (event["timestamp"], line)
            for host in self._hosts.values()
            for event in host.last_events(count)
            for line in host.lines([event]).decode("utf-8", errors="replace").splitlines()
        ]
        return [line for _, line in sorted(last, key=lambda each: each[0])][-count:]

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _streams(self) -> Iterator[str]:
        from botocore.exceptions import ClientError

        pages = self._logs.get_paginator("describe_log_streams").paginate(
            logGroupName=GROUP, logStreamNamePrefix=self._prefix
        )
        try:
            for page in pages:
                yield from (stream["logStreamName"] for stream in page["logStreams"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return  # the first job of the account and region makes the group

    def _ask(self, hosts: Sequence[_Host]) -> None:
        if len(hosts) < 2:
            for host in hosts:
                host.ask()
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_HOSTS_AT_ONCE)
        asked: list[Future[None]] = [self._pool.submit(host.ask) for host in hosts]
        failures = [error for each in asked if (error := each.exception()) is not None]
        if failures:
            raise failures[0]


class _Host:
    """One host's streams, read one after the other: a later one begins when the host starts again,
    and by then the one before is complete."""

    def __init__(self, logs: Any, label: str) -> None:
        self._logs = logs
        self._label = label.encode()
        self._streams: list[str] = []
        self._at = 0
        self._token: str | None = None
        self._ready: list[bytes] = []
        self.is_at_the_end = False
        self.is_behind = False

    def add(self, stream: str) -> None:
        if stream not in self._streams:
            self._streams.append(stream)

    def ask(self) -> None:
        """Fetches the next page. Called again after an error it asks for the same one."""
        page = self._page(self._streams[self._at], startFromHead=True, **self._next())
        events = page["events"]
        if events:
            self._ready.append(self.lines(events))
        # The same token again says that this is the end; an empty page does not.
        ended = page["nextForwardToken"] == self._token
        self._token = page["nextForwardToken"]
        self.is_behind = len(events) >= _MUCH
        self.is_at_the_end = ended and self._at + 1 == len(self._streams)
        if ended and not self.is_at_the_end:
            self._at += 1
            self._token = None

    def take(self) -> bytes:
        ready, self._ready = b"".join(self._ready), []
        return ready

    def last_events(self, count: int) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self._page(
            self._streams[-1], startFromHead=False, limit=count
        )["events"]
        return events

    def lines(self, events: Sequence[dict[str, Any]]) -> bytes:
        content = "\n".join(event["message"].removesuffix("\n") for event in events).encode()
        if b"\r" in content or _RETURN.encode() in content:
            content = "\n".join(_shown(event["message"]) for event in events).encode()
        return self._label + content.replace(b"\n", b"\n" + self._label) + b"\n"

    def _page(self, stream: str, **more: Any) -> dict[str, Any]:
        page: dict[str, Any] = self._logs.get_log_events(
            logGroupName=GROUP, logStreamName=stream, **more
        )
        return page

    def _next(self) -> dict[str, str]:
        return {} if self._token is None else {"nextToken": self._token}


def _host_and_start(stream: str) -> tuple[str, int]:
    """`algo-2` and the second at which it started, of a stream's name."""
    name = stream.rpartition("/")[2]
    host, _, start = name.rpartition("-")
    # A name such as `algo-1` alone has no time in it.
    return (host, int(start)) if start.isdigit() and "-" in host else (name, 0)


def _shown(message: str) -> str:
    """What a terminal shows of a line in the end: of a progress bar its last state."""
    is_redrawn = (
        message.startswith(_RETURN) or message.endswith(_RETURN) or message.count(_RETURN) > 1
    )
    if is_redrawn:  # a single one within a line is text, such as the number of an issue
        message = message.replace(_RETURN, "\r")
    lines = message.removesuffix("\n").split("\n")
    return "\n".join(last_redraw(line.encode()).decode() for line in lines)
