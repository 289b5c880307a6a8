"""The one step of a launch that has effects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from sift_launcher.bundle import CodeBundle, pack
from sift_launcher.errors import OutputError, ResourceInUse
from sift_launcher.paths import local_path
from sift_launcher.plan import Plan


class TrainingService(Protocol):
    """What takes a request: boto3's SageMaker client, or the service on this machine."""

    def create_training_job(self, **request: Any) -> dict[str, str]:
        """Starts the job of `request`; returns its ARN."""


def submit(plan: Plan, service: TrainingService) -> str:
    """Packs the code, sends the request, returns the job's ARN. The job runs on by itself.

    Raises ResourceInUse when a job or an output of that name exists, OutputError when the output
    folder cannot be written; then nothing is left behind.
    """
    with packed(plan.bundle, local_path(plan.bundle_uri) or Path(), plan.name):
        return service.create_training_job(**plan.request)["TrainingJobArn"]


@contextmanager
def packed(bundle: CodeBundle, archive: Path, name: str) -> Iterator[None]:
    """`bundle` is packed as `archive` for job `name`; what raises within leaves nothing of it."""
    made = _pack(bundle, archive, name)
    try:
        yield
    except BaseException:
        archive.unlink(missing_ok=True)
        _remove(made)
        raise


def _pack(bundle: CodeBundle, archive: Path, name: str) -> list[Path]:
    """Writes the archive; returns the folders that had to be made for it, innermost first."""
    made = [folder for folder in archive.parents if not folder.exists()]
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove(made)
        raise _unwritable(archive, error) from error
    try:
        pack(bundle, archive)
    except FileExistsError as error:
        raise ResourceInUse(
            f"{archive.parents[1]} holds the outputs of a job named {name!r}: choose another "
            "--name or --output"
        ) from error
    except BaseException as error:
        archive.unlink(missing_ok=True)
        _remove(made)
        if isinstance(error, OSError):
            raise _unwritable(archive, error) from error
        raise
    return made


def _unwritable(archive: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write to the output folder {archive.parents[2]} ({error.strerror}): make room "
        "there, or name another with --output"
    )


def _remove(made: list[Path]) -> None:
    for folder in made:
        # Not empty: another job has come to use it. Gone: another launch has cleared it.
        with suppress(OSError):
            folder.rmdir()
