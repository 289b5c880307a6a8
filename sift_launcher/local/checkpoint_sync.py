"""Checkpoints of a running job, put to S3 as they appear, and brought back by the next attempt.

What a script is still writing is never put: a file counts as whole once nobody has it open for
writing and it has not changed since the look before, which is not waited for once the hosts have to
stop. So whatever interrupts a job, the place in S3 holds each file as it was when it was whole
last. Nothing is removed there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

from sift_launcher.errors import ChannelError, SiftLaunchError
from sift_launcher.local.fetch import Fetcher

EACH_SECONDS = 1.0
EACH_SECONDS_OF_NOTICE = 0.05
"""What is saved at the last moment has to be seen before it is too late."""

_Found: TypeAlias = "dict[Path, _Seen]"


def restore(fetcher: Fetcher, uri: str, folder: Path, aside: Path) -> None:
    """Brings what lies below `uri`, if anything does, to `folder`, which is empty.

    By way of `aside`, on the same disk: what is called off may still write there for a moment.
    """
    below = uri.rstrip("/") + "/"
    fetcher.tree(below, aside, fetcher.keys(below))
    for path in aside.iterdir():
        path.rename(folder / path.name)


class CheckpointSync:
    """Puts the files of `folders`, those of one host each, below `uri`, in a thread."""

    def __init__(self, s3: Any, uri: str, folders: Sequence[Path]) -> None:
        """What is in the folders now is taken to be there already."""
        self._s3 = s3
        self._uri = uri.rstrip("/")
        self._folders = folders
        self._put = self._seen = self._whole = self._look()
        self._has_time = True
        self._is_marked = False
        self._lock = threading.Lock()
        self._each_seconds = EACH_SECONDS
        self._wake = threading.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> CheckpointSync:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over = True
        self._wake.set()
        self._thread.join()

    def hurry(self) -> None:
        """Looks now, and more often from now on: the hosts are about to be told to stop."""
        self._each_seconds = EACH_SECONDS_OF_NOTICE
        self._has_time = False
        self._look_for_whole()
        self._wake.set()

    def mark(self) -> None:
        """The hosts are about to be killed: what is not whole by now never will be."""
        if not self._is_marked:
            self._look_for_whole()
            self._is_marked = True

    def finish(self, *, orderly: bool) -> None:
        """Puts what is left once the hosts have ended and the context is left: all of it if that
        was `orderly`, else only what was whole before. Raises SiftLaunchError."""
        left = self._look()
        if not orderly:
            left = {path: seen for path, seen in left.items() if self._whole.get(path) == seen}
        for path in self._new(left):
            with suppress(FileNotFoundError):  # a helper of the script's has removed it
                self._put_file(path, left[path])

    def _run(self) -> None:
        while True:
            self._wake.wait(self._each_seconds)
            self._wake.clear()
            # Not once more: what a host that has died was writing is closed now, and looks whole.
            if self._is_over:
                return
            self._look_for_whole()
            # Not reached for a while, or not to be written: the last time counts.
            with suppress(SiftLaunchError):
                self._put_new(self._whole)

    def _put_new(self, whole: _Found) -> None:
        for path in self._new(whole):
            # Written anew, or gone, meanwhile: the next look finds it.
            with suppress(ChannelError, OSError):
                self._put_file(path, whole[path])

    def _look_for_whole(self) -> None:
        """Sees which files are whole at the moment."""
        with self._lock:
            if self._is_marked:
                return
            before, self._seen = self._seen, self._look()
            self._whole = {
                path: seen
                for path, seen in self._seen.items()
                if self._put.get(path) == seen or self._is_whole(path, before.get(path) == seen)
            }

    def _is_whole(self, path: Path, is_unchanged: bool) -> bool:
        if self._has_time and not is_unchanged:
            return False
        is_open = _is_open(path)
        return is_unchanged if is_open is None else not is_open

    def _look(self) -> _Found:
        """Every file as it is now."""
        found = {}
        for folder in self._folders:
            for root, _, names in os.walk(folder):
                for name in names:
                    path = Path(root, name)
                    with suppress(OSError):  # gone meanwhile
                        found[path] = _Seen.of(path.relative_to(folder).as_posix(), path.stat())
        return found

    def _new(self, whole: _Found) -> list[Path]:
        """What of it is not in S3 yet. What points to other files is written after them, and is
        put after them."""
        new = [path for path, seen in whole.items() if self._put.get(path) != seen]
        return sorted(new, key=lambda path: whole[path].changed)

    def _put_file(self, path: Path, seen: _Seen) -> None:
        from sift_launcher.cloud.s3 import put_file

        stat = path.stat()
        if _Seen.of(seen.name, stat) == seen:
            put_file(self._s3, path, f"{self._uri}/{seen.name}", as_of=stat)
            self._put = self._put | {path: seen}


@dataclass(frozen=True)
class _Seen:
    """A file at one moment."""

    name: str
    """Below its folder."""

    size: int
    changed: int
    inode: int

    @classmethod
    def of(cls, name: str, stat: os.stat_result) -> _Seen:
        return cls(name, stat.st_size, stat.st_mtime_ns, stat.st_ino)


def _is_open(path: Path) -> bool | None:
    """Whether any process has the file open for writing; None where the system does not tell.

    Linux does, of files of one's own, wherever the process runs, in a container too.
    """
    import fcntl
    import signal

    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        # A read lease is granted only while nobody writes. Whoever comes to write in between would
        # have us told by a signal: one that does nothing.
        fcntl.fcntl(file, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:  # another user's file, or a file system without leases
        return None
    finally:
        os.close(file)
    return False


_F_SETSIG = 10  # of Linux's fcntl.h; Python has no name for it
