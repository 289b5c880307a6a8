"""The supervisor that is up before its job is planned."""

from __future__ import annotations

from pathlib import Path

from sift_launcher.local.standby import Standby


def waiting() -> list[int]:
    """Supervisors that have no job yet."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            told = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # no process, or gone meanwhile
        if b"stand_by(int(" in told:
            found.append(int(folder.name))
    return found


def test_it_waits_for_a_job_and_goes_with_its_context_when_none_comes(until):
    before = set(waiting())
    with Standby(["json", "no_such_module"]):
        assert until(lambda: set(waiting()) - before)
    assert until(lambda: set(waiting()) <= before)


def test_it_waits_no_longer_when_the_plan_fails(cli, until):
    before = set(waiting())
    assert cli("nowhere.py").returncode == 2
    assert until(lambda: set(waiting()) <= before)
