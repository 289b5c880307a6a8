from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

PATIENCE_SECONDS = 30.0


class Cli:
    """The command in processes of its own, in a project folder, with a state folder."""

    def __init__(self, project: Path, state: Path) -> None:
        self.project = project
        self.state = state
        self.environment = dict(os.environ) | {
            "SIFT_LAUNCHER_HOME": str(state),
            "SIFT_LAUNCHER_STOP_SECONDS": "600",
        }
        self._started: list[subprocess.Popen[str]] = []

    def script(self, text: str, name: str = "train.py") -> str:
        (self.project / name).parent.mkdir(parents=True, exist_ok=True)
        (self.project / name).write_text(text)
        return name

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | more
        process = subprocess.Popen(
            [sys.executable, "-m", "sift_launcher", *arguments],
            cwd=self.project,
            env=self.environment,
            **options,
        )
        self._started.append(process)
        return process

    def __call__(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **more)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def describe(self, name: str) -> dict[str, Any]:
        return json.loads(self("status", name, "--json").stdout)

    def results(self, name: str) -> Path:
        return self.project / "sift-output" / name / "output"

    def record(self, name: str) -> Path:
        return self.state / "jobs" / name

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for record in self.state.glob("jobs/*"):
            if (record / "pid").exists() and '"TrainingEndTime"' not in (
                record / "status.json"
            ).read_text():
                self("stop", record.name, "--kill")


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    project = tmp_path / "project"
    project.mkdir()
    cli = Cli(project, tmp_path / "state")
    yield cli
    cli.end()


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Any]:
    """Waits for a condition of another process, and gives up loudly."""

    def wait(condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := condition()):
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.01)
        return found

    return wait


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
