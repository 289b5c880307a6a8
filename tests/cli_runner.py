"""The command line as a user runs it: in processes of its own, with a state folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Says that it is ready, then trains on; on SIGTERM it saves and ends as a good script does.
POLITE = """
import os, signal, sys, time
def save(*_):
    open(os.environ["SM_MODEL_DIR"] + "/saved", "w").write("s")
    print("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
while True: time.sleep(.01)
"""


class Cli:
    """`sift-launch` in a project folder; a command that outlasts `patience_seconds` fails."""

    def __init__(self, project: Path, state: Path, patience_seconds: float) -> None:
        self.project = project
        self.state = state
        self.patience_seconds = patience_seconds
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
        out, err = process.communicate(timeout=self.patience_seconds)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def describe(self, name: str) -> dict[str, Any]:
        return json.loads(self("status", name, "--json").stdout)

    def results(self, name: str) -> Path:
        return self.project / "sift-output" / name / "output"

    def record(self, name: str) -> Path:
        return self.state / "jobs" / name

    def end(self) -> None:
        """Ends all that was started; jobs, too, are gone when it returns."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for status in self.state.glob("jobs/[!.]*/status.json"):
            if not _has_ended(status):
                self("stop", status.parent.name, "--kill")
                wait_until(lambda status=status: _has_ended(status), self.patience_seconds)


def long_enough(attempt: Callable[[int], bool], seconds: int = 1) -> None:
    """`attempt` gives something so many seconds, and says whether they were enough for it to begin;
    if not, it gets more: how many that takes is the machine's business."""
    assert any(attempt(factor * seconds) for factor in (1, 5, 25, 125)), "it never began"


def _has_ended(status: Path) -> bool:
    return '"TrainingEndTime"' in status.read_text()


def wait_until(condition: Callable[[], Any], patience_seconds: float) -> Any:
    """What a condition of another process comes to; gives up loudly."""
    deadline = time.monotonic() + patience_seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)
    return found
