"""What a data folder holds, as one digest: equal for equal relative paths and contents.

A file is read once: its digest is kept in the state folder for as long as its size, dates and
place on the disk stay what they are.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from sift_launcher.errors import ChannelError
from sift_launcher.paths import state_folder

_DIGEST_DIGITS = 32
_THREADS = 8
_CHUNK = 1024 * 1024
_MAX_KEY_BYTES = 1024 - 256  # of S3's 1,024, what a prefix before it may take
# A file written this recently may be written again without a new date.
_TOO_FRESH_NS = 2_000_000_000

_Entry: TypeAlias = "tuple[tuple[int, ...], str]"  # a file's mark and its digest


@dataclass(frozen=True)
class DataFile:
    """One file of a channel: its path below the channel, where it lies, and as what."""

    path: str
    source: str
    stat: os.stat_result

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stat.st_size

    @property
    def mark(self) -> tuple[int, ...]:
        """Dates, size and place on the disk: another content gives it another one."""
        stat = self.stat
        return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino, stat.st_dev


def data_files(channel: str, source: Path) -> list[DataFile]:
    """All files below the folder `source`, or the file itself, sorted by path. Links are followed.

    Raises ChannelError when there are none, or one cannot be an object in S3.
    """
    if source.is_file():
        files = [DataFile(source.name, str(source), source.stat())]
    else:
        files = sorted(_walk(channel, str(source)), key=lambda file: file.path)
    if not files:
        raise ChannelError(f"channel {channel}: {source} holds no files")
    for file in files:
        _check_name(channel, file)
    return files


def content_digest(source: Path, files: Iterable[DataFile]) -> str:
    """Names the contents of `files`, which lie below `source`. 32 hexadecimal digits."""
    known = _Known(source)
    digests = known.digests(list(files))
    whole = hashlib.sha256()
    for path in sorted(digests):
        whole.update(f"{digests[path]} {path}\0".encode())
    return whole.hexdigest()[:_DIGEST_DIGITS]


def _walk(channel: str, root: str) -> Iterable[DataFile]:
    seen = set()
    pending = [""]
    while pending:
        folder = pending.pop()
        place = os.path.realpath(f"{root}/{folder}")
        if place in seen:
            continue  # a link back to a folder above
        seen.add(place)
        try:
            with os.scandir(f"{root}/{folder}") as entries:
                for entry in entries:
                    if entry.is_dir():
                        pending.append(f"{folder}{entry.name}/")
                    elif entry.is_file():
                        yield DataFile(folder + entry.name, entry.path, entry.stat())
        except OSError as error:
            raise ChannelError(
                f"channel {channel}: cannot read {root}/{folder} ({error.strerror})"
            ) from error


def _check_name(channel: str, file: DataFile) -> None:
    try:
        name = file.path.encode()
    except UnicodeEncodeError:
        raise ChannelError(
            f"channel {channel}: the name of {file.source!r} is no text in UTF-8, as S3 has it: "
            "rename it"
        ) from None
    if len(name) > _MAX_KEY_BYTES:
        raise ChannelError(
            f"channel {channel}: the path {file.path[:80]}… has {len(name)} bytes, and an object's "
            f"has at most {_MAX_KEY_BYTES} here: shorten it"
        )


class _Known:
    """The digests of the files below one place, as they were found earlier."""

    def __init__(self, source: Path) -> None:
        name = hashlib.sha256(os.fsencode(source)).hexdigest()[:_DIGEST_DIGITS]
        self._path = state_folder() / "digests" / f"{name}.json"
        self._known = self._read()

    def digests(self, files: Sequence[DataFile]) -> dict[str, str]:
        """Each file's digest by its path; all of them are known the next time."""
        new = [file for file in files if self._known.get(file.path, ((),))[0] != file.mark]
        digests = {path: digest for path, (_, digest) in self._known.items()}
        with ThreadPoolExecutor(_THREADS) as pool:
            digests.update(zip((file.path for file in new), pool.map(_sha256, new), strict=True))
        found = {file.path: (file.mark, digests[file.path]) for file in files}
        self._keep(found)
        return {path: digest for path, (_, digest) in found.items()}

    def _keep(self, found: dict[str, _Entry]) -> None:
        latest = time.time_ns() - _TOO_FRESH_NS
        lasting = {path: entry for path, entry in found.items() if max(entry[0][:2]) < latest}
        if lasting == self._known:
            return
        partial = self._path.with_suffix(f".{os.getpid()}")
        with suppress(OSError):  # the next time reads the files again, and nothing else is amiss
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(lasting))
            partial.replace(self._path)

    def _read(self) -> dict[str, _Entry]:
        try:
            read = json.loads(self._path.read_text())
            return {path: (tuple(mark), str(digest)) for path, (mark, digest) in read.items()}
        except (OSError, ValueError, TypeError, AttributeError):  # none, or another version's
            return {}


def _sha256(file: DataFile) -> str:
    digest = hashlib.sha256()
    try:
        with open(file.source, "rb") as content:  # noqa: PTH123
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise ChannelError(
            f"cannot read {file.source} ({error.strerror}): make it readable"
        ) from error
    return digest.hexdigest()
