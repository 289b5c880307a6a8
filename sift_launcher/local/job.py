"""A job of this machine, as the commands about jobs see it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sift_launcher.cost import Cost
from sift_launcher.errors import OutputError, ResourceNotFound
from sift_launcher.job_log import JobLog
from sift_launcher.local.records import JobRecord
from sift_launcher.local.service import LocalTrainingService
from sift_launcher.local.status import Status

if TYPE_CHECKING:
    from sift_launcher.receipts import Glimpse
    from smart_sifting.receipt import Receipt

_TAIL_BYTES = 1 << 16


class LocalJob:
    """A job that LocalTrainingService runs, or has run."""

    where = "this machine"
    can_be_killed = True
    can_cost = False

    def __init__(self, name: str, service: LocalTrainingService | None = None) -> None:
        """The job need not exist."""
        self.name = name
        self._service = service or LocalTrainingService()

    @property
    def record(self) -> JobRecord:
        """Where everything about it is kept. Raises ResourceNotFound."""
        return self._service.record(self.name)

    def exists(self) -> bool:
        """Whether there is such a job."""
        with suppress(ResourceNotFound):
            return bool(self.record)
        return False

    def describe(self) -> dict[str, Any]:
        """SageMaker's own description, times as datetimes. Raises ResourceNotFound."""
        return self._service.describe_training_job(TrainingJobName=self.name)

    def watch(self) -> LocalWatch:
        """A new look at it, from the beginning of its log. Raises ResourceNotFound."""
        return LocalWatch(self._service, self.record)

    def log_content(self) -> Iterator[bytes]:
        """The log as it is now, in pieces."""
        log = JobLog(self.record)
        try:
            yield from log.read()
            yield from log.rest()
        finally:
            log.close()

    def last_lines(self, count: int) -> list[str]:
        """The end of the log; of several hosts, of the one that printed last."""
        files = sorted(self.record.logs.glob("*.log"), key=lambda path: path.stat().st_mtime_ns)
        if not files:
            return []
        with files[-1].open("rb") as file:
            file.seek(max(0, files[-1].stat().st_size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
        return lines[-count:]

    def stop(self, *, kill: bool = False) -> None:
        """Asks it to stop and returns at once. Raises JobHasEnded."""
        ask = self._service.kill_training_job if kill else self._service.stop_training_job
        ask(TrainingJobName=self.name)

    def receipt(self, *, quickly: bool = False) -> tuple[Receipt, Path]:
        """The receipt of all ranks, and the folder it lies in. Raises ResourceNotFound."""
        from sift_launcher.receipts import job_receipt

        return job_receipt(self.record)

    def download(self, folder: Path) -> list[Path]:
        """Copies outputs and checkpoints below `folder`, or leaves them there if they are."""
        home = self._results().parent
        files = [path for name in ("output", "checkpoints") for path in _files(home / name)]
        if not files:
            raise ResourceNotFound(f"job {self.name} has no outputs (yet) in {home}")
        try:
            return [_copied(path, folder / path.relative_to(home)) for path in files]
        except OSError as error:
            raise OutputError(
                f"cannot write to {folder} ({error.strerror}): make room there, or name another "
                "folder with --to"
            ) from error

    def results(self) -> str:
        """The folder with the outputs."""
        return str(self._results())

    def further_results(self) -> str:
        """Names the folder of what the script wrote into its working folder, if it did."""
        if not (self._results() / "code").is_dir():
            return ""
        return "; in code/ what it wrote into its working folder"

    def log_place(self) -> str:
        """The log's file, or of several hosts the folder of them."""
        return str(self.record.log)

    def cost(self, status: Status) -> Cost | None:
        """Nothing: the machine is the user's own."""
        return Cost(0.0)

    def _results(self) -> Path:
        from sift_launcher.receipts import results_folder

        return results_folder(self.record)


class LocalWatch:
    """A job of this machine that is being followed: its files are read as they grow."""

    def __init__(self, service: LocalTrainingService, record: JobRecord) -> None:
        self._service = service
        self._record = record
        self._log = JobLog(record)

    def status(self) -> Status:
        """What is known of the job now."""
        return self._service.status(self._record.name)

    def read(self) -> Iterator[bytes]:
        """What the log has got since the last call."""
        return self._log.read()

    def rest(self) -> Iterator[bytes]:
        """The lines that their hosts have not ended, once no more will come."""
        return self._log.rest()

    def notices(self) -> Iterator[str]:
        """None: nothing can come between."""
        return iter(())

    def glimpse(self) -> Glimpse | None:
        """The head of the receipt that is being written; None before there is one."""
        from sift_launcher.receipts import glimpse, live_receipt

        with suppress(OSError, ValueError, KeyError):
            return glimpse(live_receipt(self._record))
        return None

    def close(self) -> None:
        """Closes the files."""
        self._log.close()


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _copied(source: Path, target: Path) -> Path:
    if target.exists() and (
        source.samefile(target) or _size_and_time(source) == _size_and_time(target)
    ):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    try:
        shutil.copy2(source, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _size_and_time(path: Path) -> tuple[int, int]:
    of = path.stat()
    return of.st_size, of.st_mtime_ns
