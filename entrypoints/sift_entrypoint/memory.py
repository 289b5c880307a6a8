"""Whether the system killed a process of this job for want of memory, as its own counters tell."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_LIMIT = 1 << 62  # what the older control groups say where there is none is more than that
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


class MemoryWatch:
    """Counts from now on. ``root`` is where the system's ``proc`` and ``sys`` are."""

    __slots__ = ("_group", "_group_kills", "_machine_kills", "_root")

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._group = next(_groups(root), None)
        self._group_kills = self._count_group()
        self._machine_kills = self._count_machine()

    def killed(self) -> bool | None:
        """Whether a process of ours was killed for want of memory; None where nothing tells."""
        now = self._count_group()
        if now is not None and self._group_kills is not None:
            return now > self._group_kills
        now = self._count_machine()
        if now is not None and self._machine_kills is not None and now == self._machine_kills:
            return False
        return None  # no counter, or somebody's process on this machine

    def limit(self) -> str:
        """The memory this job may use, such as ``512 MiB``; empty where it has no limit."""
        if self._group is None:
            return ""
        folder, _, limit_file = self._group
        text = _read(os.path.join(folder, limit_file)).strip()
        return _human(int(text)) if text.isdigit() and int(text) < _NO_LIMIT else ""

    def _count_group(self) -> int | None:
        if self._group is None:
            return None
        folder, counter_file, _ = self._group
        return _count(os.path.join(folder, counter_file))

    def _count_machine(self) -> int | None:
        return _count(os.path.join(self._root, "proc", "vmstat"))


def _groups(root: str) -> Iterator[tuple[str, str, str]]:
    """This process's control group: its folder, and the files of its counter and its limit.

    In a container, the path in ``/proc/self/cgroup`` may be the host's: then the mount itself is
    the container's group.
    """
    mount = os.path.join(root, "sys", "fs", "cgroup")
    for line in _read(os.path.join(root, "proc", "self", "cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, limit = mount, "memory.max"
            # The first counts no kills in groups below ours, which are other jobs' containers.
            counters = ["memory.events.local", "memory.events"]
        elif "memory" in controllers.split(","):
            base, limit = os.path.join(mount, "memory"), "memory.limit_in_bytes"
            counters = ["memory.oom_control"]
        else:
            continue
        for folder in (os.path.join(base, path.lstrip("/")), base):
            for counter in counters:
                if _count(os.path.join(folder, counter)) is not None:
                    yield folder, counter, limit


def _count(path: str) -> int | None:
    for line in _read(path).splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:  # another system, or another kind of control group
        return ""


def _human(size: float) -> str:
    for unit in _UNITS[:-1]:
        if size < 1024:
            return f"{round(size, 1):g} {unit}"
        size /= 1024
    return f"{round(size, 1):g} {_UNITS[-1]}"
