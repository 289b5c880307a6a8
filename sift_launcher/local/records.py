"""The records of jobs: one folder a job, readable from any terminal, whole at every moment.

    <home>/jobs/<name>/
        request.json     the CreateTrainingJob request, as it came
        settings.json    what the service needs beyond it (grace on stopping, share, user)
        status.json      the changing half of DescribeTrainingJob
        lock             held by the job's supervisor as long as it lives
        pid              of the supervisor
        stop, kill       there once the user asked for it
        interrupt        there until the instances of a spot job are taken back, if asked for
        logs/<host>.log  what the host printed, in all attempts
        starts.json      how long those were at each attempt after the first
        hosts/<host>/    the /opt/ml tree of every host, until it is collected
        inputs/          what was fetched for them, as long

The holder of the lock is the only writer of `status.json`: first the service that makes the
record, then the supervisor that inherits the open lock, and, should that one die, whoever finds
the lock free.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sift_launcher.errors import ResourceInUse, ResourceNotFound, StateFolderError
from sift_launcher.paths import absolute, state_folder

_BALLAST_BYTES = 64 * 1024


class JobRecord:
    """The record of one job, at a folder that need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name

    @property
    def logs(self) -> Path:
        """The folder of the hosts' log files."""
        return self.folder / "logs"

    @property
    def log(self) -> Path:
        """The job's log file; the folder of them when there is not exactly one."""
        files = list(self.logs.glob("*.log"))
        return files[0] if len(files) == 1 else self.logs

    @property
    def hosts(self) -> Path:
        """The folder of the hosts' /opt/ml trees; gone once they are collected."""
        return self.folder / "hosts"

    @property
    def inputs(self) -> Path:
        """The folder of what was fetched or made for the hosts; gone when they are."""
        return self.folder / "inputs"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor itself had to say; empty unless it broke."""
        return self.folder / "supervisor.log"

    def request(self) -> dict[str, Any]:
        """The CreateTrainingJob request. Raises ResourceNotFound when there is no such job."""
        return self._read("request.json")

    def settings(self) -> dict[str, Any]:
        """What the service was told beyond the request."""
        return self._read("settings.json")

    def status(self) -> dict[str, Any]:
        """The changing half of the description, times in seconds since the epoch."""
        return self._read("status.json")

    def write_status(self, status: dict[str, Any]) -> None:
        """Replaces the status, whole or not at all. Only for the holder of the lock."""
        try:
            write_json(self.folder / "status.json", status)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            # The disk is full, likely of the job's own files: the ballast makes room for the news.
            (self.folder / "ballast").unlink()
            write_json(self.folder / "status.json", status)

    def end_log_lines(self) -> None:
        """Ends the lines that hosts were in the middle of, before anything is added."""
        for log in self.logs.glob("*.log"):
            with log.open("rb+") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - 1, 0))
                if file.read() not in (b"", b"\n"):
                    file.write(b"\n")

    def mark_start(self) -> None:
        """Notes that what the hosts print from now on is another attempt's."""
        sizes = {log.stem: log.stat().st_size for log in self.logs.glob("*.log")}
        write_json(self.folder / "starts.json", [*self.starts(), sizes])

    def starts(self) -> list[dict[str, int]]:
        """The sizes of the hosts' logs, in bytes, at the start of each attempt after the first."""
        try:
            content: list[dict[str, int]] = json.loads((self.folder / "starts.json").read_text())
        except FileNotFoundError:
            return []
        return content

    def ask(self, wish: str) -> None:
        """Leaves a wish (`stop`, `kill` or `interrupt`) for the supervisor to find."""
        (self.folder / wish).touch()

    def withdraw(self, wish: str) -> None:
        """Takes a wish back, once it is fulfilled."""
        (self.folder / wish).unlink(missing_ok=True)

    def is_asked(self, wish: str) -> bool:
        """Whether that wish was left."""
        return (self.folder / wish).exists()

    def write_pid(self, pid: int) -> None:
        """Says which process supervises the job."""
        (self.folder / "pid").write_text(str(pid))

    def pid(self) -> int | None:
        """The supervisor's process, None before it has said so."""
        try:
            return int((self.folder / "pid").read_text())
        except (FileNotFoundError, ValueError):
            return None

    @contextlib.contextmanager
    def lock_if_free(self) -> Iterator[bool]:
        """True, and the lock held, when no supervisor lives; False when one does."""
        with (self.folder / "lock").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def _read(self, name: str) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads((self.folder / name).read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise no_such_job(self.name) from None
        except OSError as error:
            raise _unreadable(self.folder, error) from error
        return content


class JobRecords:
    """All jobs of one state folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = absolute(folder or state_folder()) / "jobs"
        """What holds the jobs' own folders."""

    def __getitem__(self, name: str) -> JobRecord:
        """The record of job `name`; it need not exist."""
        return JobRecord(self.folder / name)

    def __iter__(self) -> Iterator[JobRecord]:
        """All records, newest first."""
        try:
            folders = [path for path in self.folder.iterdir() if not path.name.startswith(".")]
        except FileNotFoundError:
            return iter(())
        except OSError as error:
            raise _unreadable(self.folder, error) from error
        made = {}
        for folder in folders:
            with contextlib.suppress(OSError):  # removed meanwhile, or none of ours
                made[folder] = (folder / "request.json").stat().st_mtime_ns
        return (JobRecord(folder) for folder in sorted(made, key=made.__getitem__, reverse=True))

    def create(
        self, name: str, request: dict[str, Any], settings: dict[str, Any], status: dict[str, Any]
    ) -> tuple[JobRecord, int]:
        """A new record and its lock, held through the open file descriptor that is returned.

        Raises ResourceInUse when the name is taken, StateFolderError when nothing can be written.
        """
        record = self[name]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Made aside and moved in one step: a name is taken by a whole record or not at all.
            aside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=self.folder))
            try:
                lock = self._fill(aside, request, settings, status)
                try:
                    aside.rename(record.folder)
                except OSError:
                    os.close(lock)
                    raise
            except OSError:
                shutil.rmtree(aside, ignore_errors=True)
                raise
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise ResourceInUse(
                    f"a job named {name!r} exists: choose another --name, or see it with "
                    f"sift-launch status {name}"
                ) from error
            raise StateFolderError(
                f"cannot write the job's record in {self.folder} ({error.strerror}): make room, or "
                "set SIFT_LAUNCHER_HOME to a folder that can be written"
            ) from error
        return record, lock

    @staticmethod
    def _fill(
        folder: Path, request: dict[str, Any], settings: dict[str, Any], status: dict[str, Any]
    ) -> int:
        (folder / "logs").mkdir()
        (folder / "ballast").write_bytes(b"\0" * _BALLAST_BYTES)
        write_json(folder / "request.json", request)
        write_json(folder / "settings.json", settings)
        write_json(folder / "status.json", status)
        lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock


def no_such_job(name: str) -> ResourceNotFound:
    """The error of a name that no job has."""
    return ResourceNotFound(f"no job is named {name!r}: sift-launch jobs lists those there are")


def _unreadable(folder: Path, error: OSError) -> StateFolderError:
    return StateFolderError(
        f"cannot read the job records in {folder} ({error.strerror}): set SIFT_LAUNCHER_HOME to "
        "your own state folder"
    )


def write_json(path: Path, value: object) -> None:
    """Writes `value` so that a reader sees the old content or the new, never a part."""
    aside = path.with_name(path.name + ".new")
    aside.write_text(json.dumps(value, indent=2), "utf-8")
    aside.replace(path)
