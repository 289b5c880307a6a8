"""Whether memory ran out is read from the system's own counters, old and new."""

from __future__ import annotations

from pathlib import Path

import pytest

from sift_entrypoint.memory import MemoryWatch

OLD = "9:cpu:/docker/abc\n4:memory:/docker/abc\n1:name=systemd:/docker/abc\n"
NEW = "0::/\n"


class System:
    """What a system tells of itself, as files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def old_group(self, kills: int, folder: str = "") -> None:
        self.write("proc/self/cgroup", OLD)
        counter = f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n"
        self.write(f"sys/fs/cgroup/memory/{folder}memory.oom_control", counter)

    def new_group(self, kills: int, folder: str = "") -> None:
        self.write("proc/self/cgroup", NEW)
        self.write(f"sys/fs/cgroup/{folder}memory.events", f"max 9\noom 1\noom_kill {kills}\n")

    def machine(self, kills: int) -> None:
        self.write("proc/vmstat", f"nr_free_pages 1\noom_kill {kills}\npgfault 2\n")

    def watch(self) -> MemoryWatch:
        return MemoryWatch(str(self.root))


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


@pytest.mark.parametrize("group", [System.old_group, System.new_group])
def test_a_kill_counts_from_the_start_of_the_watch(system: System, group) -> None:
    group(system, 3)
    system.machine(3)
    watch = system.watch()
    assert watch.killed() is False
    system.machine(4)  # somebody else's
    assert watch.killed() is False
    group(system, 4)
    assert watch.killed() is True


def test_a_path_of_the_host_is_followed_where_it_can_be(system: System) -> None:
    system.old_group(0)
    system.old_group(0, folder="docker/abc/")
    watch = system.watch()
    system.old_group(1)  # another group's
    assert watch.killed() is False
    system.old_group(1, folder="docker/abc/")
    assert watch.killed() is True


def test_without_a_group_the_machine_can_say_no_but_not_whose(system: System) -> None:
    system.write("proc/self/cgroup", NEW)  # the root group has no counter
    system.machine(5)
    watch = system.watch()
    assert watch.killed() is False
    system.machine(6)
    assert watch.killed() is None


def test_a_system_that_tells_nothing_is_not_guessed_at(system: System) -> None:
    watch = system.watch()
    assert watch.killed() is None
    assert watch.limit() == ""


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        ("67108864\n", "64 MiB"),
        ("1610612736\n", "1.5 GiB"),
        ("1048575\n", "1024 KiB"),
        ("100\n", "100 bytes"),
        ("9223372036854771712\n", ""),
        ("max\n", ""),
    ],
)
def test_the_limit_is_told_as_people_write_it(system: System, said: str, limit: str) -> None:
    system.old_group(0)
    system.write("sys/fs/cgroup/memory/memory.limit_in_bytes", said)
    assert system.watch().limit() == limit
    system.new_group(0)
    system.write("sys/fs/cgroup/memory.max", said)
    assert system.watch().limit() == limit
