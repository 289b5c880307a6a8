"""The threads of torch's gloo collectives, which must be at rest before the interpreter goes down.

torch.nn.parallel.DistributedDataParallel keeps them alive past destroy_process_group (torch 2.13).
One that lets go of the last collective's tensor takes the interpreter's lock for it, and up to
Python 3.13 whoever asks a finalizing interpreter for that is ended where C++ allows no end: the
process aborts with "terminate called without an active exception", after all of its work was done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

_NAME = "pt_gloo_runloop"
_SECONDS_BETWEEN_LOOKS = 0.01
_MOST_SECONDS = 1.0

# Of a thread: whether it sleeps, and how often it has left its core, by itself or not.
_Threads = dict[str, tuple[bool, str, str]]


def wait_until_idle(
    look: Callable[[], _Threads] | None = None, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Lets this process's gloo threads end what they are at. At most a second; without any, none.

    To be called before the interpreter goes down. Where the system tells nothing of threads (it
    is not Linux) nothing is waited for.

    Args:
        look: tells the gloo threads of now; those of this process unless told.
        sleep: must let other threads have the interpreter's lock.
    """
    look = look or _gloo_threads
    before = look()
    for _ in range(round(_MOST_SECONDS / _SECONDS_BETWEEN_LOOKS)):
        if not before:
            return
        sleep(_SECONDS_BETWEEN_LOOKS)
        now = look()
        if now == before and all(asleep for asleep, *_ in now.values()):
            return
        before = now


def _gloo_threads() -> _Threads:
    threads = {}
    for status in Path("/proc/self/task").glob("*/status"):
        try:
            lines = status.read_text().splitlines()
        except OSError:  # it has ended
            continue
        fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        if fields["Name"] == _NAME:
            threads[status.parent.name] = (
                fields["State"].startswith("S"),
                fields["voluntary_ctxt_switches"],
                fields["nonvoluntary_ctxt_switches"],
            )
    return threads
