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
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

from sift_launcher.errors import ChannelError, SiftLaunchError
from sift_launcher.local.fetch import Fetcher

EACH_SECONDS = 1.0
EACH_SECONDS_OF_NOTICE = 0.05
"""What is saved at the last moment has to be seen before it is too late."""

_State: TypeAlias = "tuple[int, int, int]"
_Found: TypeAlias = "dict[Path, tuple[str, _State]]"


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
        self._put = {path: state for path, (_, state) in self._look().items()}
        self._seen = dict(self._put)
        self._whole = dict(self._put)
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
        found = self._look()
        whole = {path: state for path, (_, state) in found.items()}
        if not orderly:
            whole = {path: state for path, state in whole.items() if self._whole.get(path) == state}
        self._put_all(found, whole)

    def _run(self) -> None:
        while True:
            self._wake.wait(self._each_seconds)
            self._wake.clear()
            # Not once more: what a host that has died was writing is closed now, and looks whole.
            if self._is_over:
                return
            found = self._look_for_whole()
            # Not reached for a while, or not to be written: the last time counts.
            with suppress(SiftLaunchError, OSError):
                self._put_all(found, dict(self._whole))

    def _look_for_whole(self) -> _Found:
        """Sees which files are whole at the moment."""
        with self._lock:
            found = self._look()
            if self._is_marked:
                return found
            before, self._seen = self._seen, {path: state for path, (_, state) in found.items()}
            self._whole = {
                path: state
                for path, state in self._seen.items()
                if self._put.get(path) == state or self._is_whole(path, before.get(path) == state)
            }
            return found

    def _is_whole(self, path: Path, is_unchanged: bool) -> bool:
        if self._has_time and not is_unchanged:
            return False
        is_open = _is_open(path)
        return is_unchanged if is_open is None else not is_open

    def _look(self) -> _Found:
        """Every file's name below its folder, and its state."""
        found = {}
        for folder in self._folders:
            for root, _, names in os.walk(folder):
                for name in names:
                    path = Path(root, name)
                    with suppress(OSError):  # gone meanwhile
                        stat = path.stat()
                        found[path] = (path.relative_to(folder).as_posix(), _state(stat))
        return found

    def _put_all(self, found: _Found, whole: dict[Path, _State]) -> None:
        from sift_launcher.cloud.s3 import put_file

        new = [path for path, state in whole.items() if self._put.get(path) != state]
        # What points to other files is written after them, and put after them.
        for path in sorted(new, key=lambda path: whole[path][1]):
            try:
                stat = path.stat()
                if _state(stat) != whole[path]:
                    continue
                put_file(self._s3, path, f"{self._uri}/{found[path][0]}", as_of=stat)
            except (FileNotFoundError, ChannelError):
                continue  # written anew, or gone, meanwhile: the next look finds it
            self._put[path] = whole[path]


def _state(stat: os.stat_result) -> _State:
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


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
