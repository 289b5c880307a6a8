"""Discovery in the test's own process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from smart_sifting.discovery import patch
from smart_sifting.discovery.discoverer import Discoverer
from smart_sifting.job_report import JobReport
from smart_sifting.sift_config.job_config import SiftConfig


@pytest.fixture
def discover() -> Iterator[Callable[..., JobReport]]:
    """Starts discovery in this process; torch has its own methods back afterwards."""
    undo: list[Callable[[], None]] = []
    # What is decided by a clock must not depend on what else the machine is doing.
    clock = count().__next__

    def start(keep: float = 0.5, source: str = "forward", **config: Any) -> JobReport:
        report = JobReport(None, keep, clock=lambda: clock() / 1000)
        made: list[Discoverer] = []

        def make(plain_length: Callable[[Any], int]) -> Discoverer:
            settings = SiftConfig(keep=keep, source=source, **config)
            made.append(Discoverer(settings, report, plain_length))
            return made[0]

        undo.append(patch(make))
        undo.append(lambda: [each.close() for each in made])  # type: ignore[func-returns-value]
        return report

    yield start
    for each in reversed(undo):
        each()
