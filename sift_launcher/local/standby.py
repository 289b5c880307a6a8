"""Starting the process that supervises a job: it can stand by while the job is being planned.

Its imports take as long as the planning; done side by side, they cost a job nothing.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType

from sift_launcher.local.records import JobRecord

# Forks once before anything is imported, so that the supervisor is nobody's child and whoever waits
# for it waits for an empty interpreter alone. The search path is extended rather than set in the
# environment, which the job inherits.
_START = """
import os, sys
if os.fork(): os._exit(0)
sys.path[:] = [*filter(None, sys.path), sys.argv[1]]  # not the user's folder: a json.py is theirs
from sift_launcher.local.standby import stand_by
stand_by(int(sys.argv[2]), sys.argv[3:])
"""
_SUPERVISOR = "sift_launcher.local.supervisor"
_LONGEST_PATH = 4096


class Standby:
    """A supervisor's process that waits for its job. Without one it ends with the context."""

    def __init__(self, modules: Sequence[str] = ()) -> None:
        """`modules` are imported while it waits, for the job will need them."""
        root = Path(__file__).resolve().parents[2]
        self._channel, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(root), str(number), _SUPERVISOR, *modules],
                pass_fds=(number,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def __enter__(self) -> Standby:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._channel.close()
        self._process.wait()

    def supervise(self, record: JobRecord, lock: int) -> None:
        """Hands over the job of `record` and its `lock`, an open file that stays the caller's to
        close: from here on the lock is held as long as that process lives."""
        with record.supervisor_log.open("ab") as log:
            files = [lock, log.fileno()]
            # It is gone: then its job has no supervisor, which the lock will show.
            with suppress(BrokenPipeError):
                socket.send_fds(self._channel, [os.fsencode(record.folder)], files)


def stand_by(channel: int, modules: Sequence[str]) -> None:
    """The other side: waits for a record's folder, its lock and its log, and supervises the job."""
    with suppress(ImportError):  # told below, where there is a log to tell it in
        for module in modules:
            import_module(module)
    with socket.socket(fileno=channel) as waiting:
        folder, descriptors, _, _ = socket.recv_fds(waiting, _LONGEST_PATH, 2)
    if not folder:
        return
    lock, log = descriptors
    os.set_inheritable(lock, False)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    import_module(_SUPERVISOR).main(os.fsdecode(folder))
