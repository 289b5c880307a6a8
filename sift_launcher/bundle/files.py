"""What a bundle is made of."""

from __future__ import annotations

from dataclasses import dataclass

MAX_FILES = 20_000
MAX_BYTES = 500_000_000
JOB_OUTPUT_MARK = ("source", "sourcedir.tar.gz")  # what makes a folder a job's output

RUNTIME_FOLDER = ".sift"  # the runtime, where it travels with the code


@dataclass(frozen=True)
class CodeFile:
    """One file of a bundle: its path there, and its size in bytes."""

    path: str
    size: int
    source: str | None = None
    """Where it lies when that is not below the source folder: a file of the launcher's own."""


@dataclass(frozen=True)
class CodeBundle:
    """The files that go with a job, sorted by path, and the names of what is left behind."""

    source_dir: str
    files: tuple[CodeFile, ...]
    left_out: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes, unpacked."""
        return sum(file.size for file in self.files)


def megabytes(size: int) -> str:
    """`size` bytes for a reader: `812 B`, `4.2 kB`, `31.0 MB`, `7.1 GB`."""
    if size < 1000:
        return f"{size} B"
    if size < 1_000_000:
        return f"{size / 1000:.1f} kB"
    if size < 1_000_000_000:
        return f"{size / 1_000_000:.1f} MB"
    return f"{size / 1_000_000_000:.1f} GB"
