"""From what a host prints to CloudWatch's events: whole lines, in batches, and metrics of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

# Source: the API reference of PutLogEvents; an event's size counts 26 bytes more than its text.
MAX_EVENTS = 10_000
MAX_BYTES = 1_048_576
EVENT_BYTES = 26
LONGEST_LINE = 256 * 1024 - EVENT_BYTES

Event = dict[str, Any]


class Lines:
    """The lines of one host's output, which comes in pieces."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, content: bytes) -> list[bytes]:
        """The lines that `content` ends; what is longer than an event may be is cut."""
        *lines, self._held = (self._held + content).split(b"\n")
        if len(self._held) > LONGEST_LINE:
            lines.append(self._held)
            self._held = b""
        return [part for line in lines for part in _cut(line)]

    def end(self) -> list[bytes]:
        """The line that has begun, once no more will come."""
        held, self._held = self._held, b""
        return list(_cut(held)) if held else []


def batches(lines: Iterable[bytes], timestamp: int) -> Iterator[list[Event]]:
    """`lines` as events of that moment, in as few lists as PutLogEvents takes."""
    batch: list[Event] = []
    size = 0
    for line in lines:
        # Text of no length is no event; an empty line is to be seen all the same.
        text = line.decode("utf-8", errors="replace") or " "
        bytes_more = (len(line) if text.isascii() else len(text.encode())) + EVENT_BYTES
        if batch and (len(batch) == MAX_EVENTS or size + bytes_more > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append({"timestamp": timestamp, "message": text})
        size += bytes_more
    if batch:
        yield batch


class Metrics:
    """The last value of each metric that a job defines.

    A definition's expression is searched in every line; its first group is the value.
    """

    def __init__(self, definitions: Sequence[dict[str, str]]) -> None:
        self._expressions = {
            each["Name"]: re.compile(each["Regex"].encode()) for each in definitions
        }
        self._values: dict[str, tuple[float, float]] = {}

    def search(self, lines: Sequence[bytes], timestamp: int) -> None:
        """Takes note of the values in `lines`."""
        for name, expression in self._expressions.items():
            for line in reversed(lines):
                value = _number(expression.search(line))
                if value is not None:
                    self._values[name] = (value, timestamp / 1000)
                    break

    def final(self) -> list[dict[str, Any]]:
        """SageMaker's FinalMetricDataList."""
        return [
            {"MetricName": name, "Value": value, "Timestamp": moment}
            for name, (value, moment) in self._values.items()
        ]


def _number(found: re.Match[bytes] | None) -> float | None:
    if found is None or not found.re.groups:
        return None
    try:
        return float(found[1] or b"")
    except ValueError:
        return None


def _cut(line: bytes) -> Iterator[bytes]:
    for start in range(0, max(len(line), 1), LONGEST_LINE):
        yield line[start : start + LONGEST_LINE]
