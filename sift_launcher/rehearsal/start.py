"""Starting a rehearsal in the background, and pointing this process at it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM

from sift_launcher.errors import RehearsalError, ValidationError
from sift_launcher.local.stand_in import NOTICE_SECONDS
from sift_launcher.rehearsal.endpoint import Endpoint, lead_to_this_machine
from sift_launcher.rehearsal.files import RehearsalFiles
from sift_launcher.rehearsal.requirements import require_moto

IDLE_SECONDS = 30 * 60
_STOP_SECONDS = 90  # longer than a server takes to put away what its jobs leave

# Forks before anything is imported, so that the server is nobody's child. The search path is
# extended rather than set in the environment, which the jobs inherit.
_START = """
import os, sys
if os.fork(): os._exit(0)
sys.path[:] = [*filter(None, sys.path), sys.argv[1]]
from sift_launcher.cli import main
main(sys.argv[2:])
"""


@dataclass(frozen=True)
class Rehearsal:
    """How the jobs of this command are played."""

    endpoint: Endpoint
    runs: str
    interruptions: tuple[str, ...]

    def announce(self, job: str) -> None:
        """To be called before the job is created."""
        self.endpoint.stage(
            job,
            runs=self.runs,
            python=sys.executable,
            at=list(self.interruptions),
            notice_seconds=_notice_seconds(),
        )


def rehearse(runs: str = "process", interruptions: Sequence[str] = ()) -> Rehearsal:
    """From here on every AWS client of this process and its children talks to a rehearsal.

    `runs`: what plays an instance, `process` or `local`. `interruptions`: when a spot job is
    interrupted. Raises ExtraMissing or RehearsalError.
    """
    endpoint = ensure_server(runs)
    lead_to_this_machine()
    os.environ.update(endpoint.environment)
    return Rehearsal(endpoint, runs, tuple(interruptions))


def ensure_server(runs: str = "process") -> Endpoint:
    """The server of this state folder, started in the background when none answers."""
    files = RehearsalFiles()
    with files.starting():
        deadline = time.monotonic() + _STOP_SECONDS
        while (found := running()) is None and files.is_served():  # one is about to begin or end
            if time.monotonic() > deadline:
                raise RehearsalError(f"the rehearsal of {files.folder} does not answer")
            time.sleep(0.05)
        return found or _start(files, runs)


def running() -> Endpoint | None:
    """The server of this state folder, if it answers."""
    found = RehearsalFiles().read()
    return found[0] if found is not None and found[0].is_alive() else None


def stop_server() -> bool:
    """Ends the server and its jobs; returns when it is gone, and whether there was one."""
    files = RehearsalFiles()
    found = files.read()
    if found is None or not found[0].is_alive():
        return False
    pid = found[1]
    with suppress(ProcessLookupError):  # it has just ended by itself
        os.kill(pid, SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while files.is_served():
        if time.monotonic() > deadline:
            raise RehearsalError(f"the rehearsal (process {pid}) does not end: kill -9 {pid}")
        time.sleep(0.05)
    return True


def _start(files: RehearsalFiles, runs: str) -> Endpoint:
    require_moto()
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", _START, str(root), "rehearsal", "serve"]
    reader, writer = os.pipe()
    with files.log.open("wb") as log:
        subprocess.run(
            [*command, "--on", runs, "--idle", str(IDLE_SECONDS)],
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=log,
            start_new_session=True,
            cwd="/",
            check=True,
        )
    os.close(writer)
    with open(reader, "rb") as told:  # noqa: PTH123 - a descriptor has no path
        # Its first words say that it answers; without, it has ended.
        is_ready = bool(told.readline())
    found = files.read()
    if not is_ready or found is None:
        lines = files.log.read_text("utf-8", errors="replace").strip().splitlines()
        reason = lines[-1].strip() if lines else "it ended without a word"
        raise RehearsalError(f"the rehearsal does not start: {reason} (all of it: {files.log})")
    return found[0]


def _notice_seconds() -> float:
    text = os.environ.get("SIFT_LAUNCHER_NOTICE_SECONDS", str(NOTICE_SECONDS))
    try:
        return float(text)
    except ValueError:
        raise ValidationError(
            f"SIFT_LAUNCHER_NOTICE_SECONDS={text!r} is not a number of seconds"
        ) from None
