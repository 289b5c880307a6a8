from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cli_runner import Cli, wait_until

PATIENCE_SECONDS = 240.0


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    project = tmp_path / "project"
    project.mkdir()
    cli = Cli(project, tmp_path / "state", PATIENCE_SECONDS)
    yield cli
    cli.end()


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Any]:
    """Waits for a condition of another process, and gives up loudly."""
    return lambda condition: wait_until(condition, PATIENCE_SECONDS)


@pytest.fixture
def processes_below() -> Callable[[Path], list[int]]:
    """The processes of the host whose tree is at a folder."""

    def find(base: Path) -> list[int]:
        mark = f"SAGEMAKER_BASE_DIR={base}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found

    return find


@pytest.fixture
def interrupt() -> Callable[[subprocess.Popen[str]], None]:
    return lambda process: process.send_signal(signal.SIGINT)
