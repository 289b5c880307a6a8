"""One archive of a bundle, byte for byte the same for the same contents.

No dates, owners or masks are in it, and the members are in order. It is written here and not by
`tarfile`, which takes as long for ten thousand small files as reading and compressing them does.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sift_launcher.bundle.files import CodeBundle, CodeFile
from sift_launcher.errors import CodeBundleError

if TYPE_CHECKING:
    from concurrent.futures import Executor

_BLOCK = 512
_CHUNK = 1024 * 1024
# RFC 1952: no name, no date, fastest, and a system that is nobody's.
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
_LEVEL = 1  # the archive is read once, on this machine or after one upload
_SIMPLE_NAME = 100
_SIMPLE_SIZE = 8**11
_NO_SUM = b" " * 8


def pack(bundle: CodeBundle, target: Path) -> None:
    """Writes the bundle as a `tar.gz`; raises FileExistsError when `target` is there already."""
    from concurrent.futures import ThreadPoolExecutor  # and with it logging: few commands pack

    with target.open("xb") as raw, ThreadPoolExecutor(1) as worker:
        zipped = _Gzip(raw, worker)
        for file in bundle.files:
            for piece in _member(bundle.source_dir, file):
                zipped.write(piece)
        zipped.write(bytes(2 * _BLOCK))
        zipped.end()


class _Gzip:
    """Compresses in another thread what this one has read."""

    def __init__(self, raw: BinaryIO, worker: Executor) -> None:
        self._raw = raw
        self._worker = worker
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._size = self._sum = 0
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._before = worker.submit(raw.write, _GZIP_HEADER)

    def write(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._waiting >= _CHUNK:
            self._hand_over()

    def end(self) -> None:
        self._hand_over()
        self._before.result()
        self._raw.write(self._deflate.flush())
        trailer = self._sum.to_bytes(4, "little") + (self._size % 2**32).to_bytes(4, "little")
        self._raw.write(trailer)

    def _hand_over(self) -> None:
        self._before.result()  # one chunk at a time: no more of them are in memory
        self._before = self._worker.submit(self._compress, b"".join(self._pieces))
        self._pieces.clear()
        self._waiting = 0

    def _compress(self, content: bytes) -> int:
        self._size += len(content)
        self._sum = zlib.crc32(content, self._sum)
        return self._raw.write(self._deflate.compress(content))


def _member(source: str, file: CodeFile) -> Iterator[bytes]:
    """A file as an archive holds it."""
    path = file.source or f"{source}/{file.path}"
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            stat = os.fstat(descriptor)
            # The launcher's own are the same wherever it was installed.
            executable = stat.st_mode & 0o100 and not file.source
            yield _header(file.path, stat.st_size, 0o755 if executable else 0o644)
            rest = stat.st_size
            while rest and (piece := os.read(descriptor, min(rest, _CHUNK))):
                rest -= len(piece)
                yield piece
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CodeBundleError(
            f"cannot read {path} ({error.strerror}), which would travel with the job: make it "
            "readable, or name it in .siftignore"
        ) from error
    if rest:
        raise CodeBundleError(f"{path} became shorter while it was packed: try again")
    yield bytes(-stat.st_size % _BLOCK)


def _header(name: str, size: int, mode: int) -> bytes:
    raw = os.fsencode(name)
    if len(raw) > _SIMPLE_NAME or size >= _SIMPLE_SIZE or not raw.isascii():
        return _long_header(name, size, mode)
    # POSIX.1-1988, "ustar": name, mode, owner, group, size, date, and the sum of all bytes.
    start = raw.ljust(100, b"\0") + b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, 0, 0, size, 0)
    end = (b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"%07o\0%07o\0" % (0, 0)).ljust(
        356, b"\0"
    )
    total = sum(start) + sum(_NO_SUM) + sum(end)
    return b"%b%06o\0 %b" % (start, total, end)


def _long_header(name: str, size: int, mode: int) -> bytes:
    import tarfile

    member = tarfile.TarInfo(name)
    member.size, member.mode = size, mode
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
