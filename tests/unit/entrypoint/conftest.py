from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from entrypoint_job import DEADLINE, JobTree


@pytest.fixture
def job(tmp_path: Path) -> JobTree:
    tree = JobTree(tmp_path / "ml")
    tree.hyperparameters()
    return tree


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Wait for a condition of another process, with a deadline."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, "the deadline passed"
            time.sleep(0.01)

    return wait
