"""What tells one checkpoint from another, whatever it is called and wherever it lies."""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

# A file that torch has written ends with a directory of all its parts and their checksums.
TAIL_BYTES = 1 << 20


def of_file(path: str | os.PathLike[str]) -> str:
    """The fingerprint of a file. Raises ``OSError`` as the disk does."""
    with Path(path).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        return _of(size, file.read())


def of_bytes(content: memoryview | bytes) -> str:
    """The fingerprint that a file with this content has."""
    return _of(len(content), content[-TAIL_BYTES:])


def size_of(fingerprint: str) -> int:
    """Bytes of the file that a fingerprint is of. Raises ``ValueError`` if it is none."""
    return int(fingerprint.partition("-")[0], 16)


def _of(size: int, tail: memoryview | bytes) -> str:
    return f"{size:x}-{blake2b(tail, digest_size=16).hexdigest()}"
