"""Whether the first process of a container hears a signal.

The kernel drops a signal for which such a process has no handler, even SIGTERM, and an interpreter
that is just starting has none yet.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

_PROCESSES = Path("/proc")
# Source: proc_pid_status(5). What is blocked waits for whoever asks for it, and is not dropped.
_HEARD = re.compile(r"^Sig(?:Cgt|Blk):\s*(\w+)$", re.MULTILINE)


def hears(container: str, pid: int, number: signal.Signals) -> bool | None:
    """Whether process `pid`, the first of `container`, would get the signal.

    None where the system does not show it: the engine may number processes as we do not, and a
    process is known by its control group, which has the name of its container.
    """
    folder = _PROCESSES / str(pid)
    try:
        if container not in (folder / "cgroup").read_text():
            return None
        masks = _HEARD.findall((folder / "status").read_text())
    except OSError:  # it has ended, or is hidden from us
        return None
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)
