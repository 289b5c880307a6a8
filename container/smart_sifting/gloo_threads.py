"""The threads of torch's gloo collectives, which must be at rest before the interpreter goes down.

torch.nn.parallel.DistributedDataParallel keeps them alive past destroy_process_group (torch 2.13).
One that lets go of the last collective's tensor takes the interpreter's lock for it, and up to
Python 3.13 whoever asks a finalizing interpreter for that is ended where C++ allows no end: the
process aborts with "terminate called without an active exception", after all of its work was done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

_NAME = "gloo"
_FIELDS = ("Name", "State", "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
_SECONDS_BETWEEN_LOOKS = 0.01
_MOST_SECONDS = 5.0


class Thread(NamedTuple):
    """What the system tells of one."""

    name: str
    asleep: bool
    switches: tuple[str, ...]
    """How often it has left its core, by itself and not."""


Threads = Mapping[str, Thread]


def wait_until_idle(
    look: Callable[[], Threads] | None = None, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Lets this process's gloo threads end what they are at, for at most five seconds.

    To be called before the interpreter goes down. All threads but Python's own have to be at
    rest, for one that has just begun has no name of its own yet. Where there are none of gloo, or
    the system tells nothing of threads (it is not Linux), nothing is waited for.

    Args:
        look: tells the native threads of now; those of this process unless told.
        sleep: must let other threads have the interpreter's lock.
    """
    look = look or _native_threads
    before = look()
    if not any(_NAME in thread.name for thread in before.values()):
        return
    for _ in range(round(_MOST_SECONDS / _SECONDS_BETWEEN_LOOKS)):
        sleep(_SECONDS_BETWEEN_LOOKS)
        now = look()
        if now == before and all(thread.asleep for thread in now.values()):
            return
        before = now


def _native_threads() -> Threads:
    of_python = {str(thread.native_id) for thread in threading.enumerate()}
    threads = {}
    for status in Path("/proc/self/task").glob("*/status"):
        task = status.parent.name
        if task in of_python:
            continue
        try:
            lines = status.read_text(errors="replace").splitlines()
        except OSError:  # it has ended
            continue
        fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        # Kernels of sandboxes may leave lines out.
        name, state, *switches = (fields.get(each, "") for each in _FIELDS)
        threads[task] = Thread(name, state.startswith("S"), tuple(switches))
    return threads
