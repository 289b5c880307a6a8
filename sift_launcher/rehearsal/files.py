"""What a rehearsal keeps in the user's state folder, so that every command finds it."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from sift_launcher.errors import RehearsalError, StateFolderError
from sift_launcher.local.records import write_json
from sift_launcher.paths import state_folder
from sift_launcher.rehearsal.endpoint import Endpoint

# SageMaker's SDK: no telemetry, and the bucket that it would ask STS for.
_SDK_CONFIG = """\
SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
      Session:
        DefaultS3Bucket: {bucket}
"""


class RehearsalFiles:
    """The folder `rehearsal` of the state folder. It holds a key: nobody else may read it."""

    def __init__(self) -> None:
        self.folder = state_folder() / "rehearsal"
        self._server = self.folder / "server.json"
        self._lock = self.folder / "lock"

    @property
    def home(self) -> Path:
        """Where the jobs' records are."""
        return self.folder / "home"

    @property
    def log(self) -> Path:
        """What a server in the background had to say."""
        return self.folder / "server.log"

    @property
    def sdk_config(self) -> Path:
        """The configuration of SageMaker's SDK."""
        return self.folder / "sagemaker.yaml"

    def make(self) -> None:
        """Makes the folder. Raises StateFolderError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
        except OSError as error:
            raise StateFolderError(
                f"cannot write {self.folder} ({error.strerror}): set SIFT_LAUNCHER_HOME to a "
                "folder of your own"
            ) from error

    def write(self, endpoint: Endpoint, pid: int, bucket: str) -> None:
        """Says where the server answers."""
        self.sdk_config.write_text(_SDK_CONFIG.format(bucket=bucket), "utf-8")
        write_json(self._server, {"pid": pid, "endpoint": asdict(endpoint)})

    def read(self) -> tuple[Endpoint, int] | None:
        """Where a server answered last, and its process."""
        with suppress(OSError, ValueError, KeyError, TypeError):  # none, or of another release
            told = json.loads(self._server.read_text("utf-8"))
            return Endpoint(**told["endpoint"]), int(told["pid"])
        return None

    @contextmanager
    def served(self) -> Iterator[None]:
        """Holds what one server of the folder holds. Raises RehearsalError when another does."""
        self.make()
        with self._lock.open("wb") as lock:
            if not _locked(lock):
                raise RehearsalError(
                    "a rehearsal is being served already: sift-launch rehearsal status shows it, "
                    "sift-launch rehearsal stop ends it"
                )
            try:
                yield
            finally:
                self._server.unlink(missing_ok=True)

    def is_served(self) -> bool:
        """Whether a server is there, be it one that has not begun to answer, or has ceased to."""
        with self._lock.open("ab") as lock:
            return not _locked(lock)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Lets one command after the other look for a server and start it."""
        self.make()
        with (self.folder / "starting").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _locked(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
