"""One job wherever it runs: what the commands about jobs need of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from smart_sifting.receipt import Receipt


class LogSource(Protocol):
    """A job's log as one stream; of several hosts whole lines under their names."""

    def read(self) -> Iterator[bytes]:
        """What came since the last call, in pieces. Returns at once when there is nothing."""

    def rest(self) -> Iterator[bytes]:
        """What is left once no more will come."""

    def close(self) -> None:
        """Lets go of files and connections."""


class Job(Protocol):
    """A job of this machine, of a rehearsal, or of SageMaker."""

    name: str
    where: str
    """In a few words: `this machine`, `us-east-1`, `rehearsal`."""

    def describe(self) -> dict[str, Any]:
        """SageMaker's own description, times as datetimes. Raises ResourceNotFound."""

    def status(self) -> dict[str, Any]:
        """The changing half of it, times in seconds since the epoch; cheap enough to be asked
        twice a second."""

    def log(self) -> LogSource:
        """A new reader of its log, from the beginning."""

    def stop(self, *, kill: bool = False) -> None:
        """Asks it to stop and returns at once. Raises JobHasEnded."""

    def receipt(self) -> tuple[Receipt, Path]:
        """The receipt of all ranks, and the folder it lies in. Raises ResourceNotFound."""

    def download(self, folder: Path) -> list[Path]:
        """Brings model, output and checkpoints below `folder`; returns what was written."""

    def results(self) -> str:
        """Where the outputs are: a folder of this machine, or an `s3://` address."""

    def log_place(self) -> str:
        """Where the whole log is: a path, or an address of the console."""
