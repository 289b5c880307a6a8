"""The supervisor that is up before its job is planned."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from sift_launcher.local.standby import Standby


def waiting(state: Path) -> list[int]:
    """Supervisors of a state folder, which have no job as long as it holds none."""
    home = b"SIFT_LAUNCHER_HOME=" + os.fsencode(state)
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile
            is_standby = b"stand_by(int(" in (folder / "cmdline").read_bytes()
            if is_standby and home in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def test_it_waits_for_a_job_and_goes_with_its_context_when_none_comes(until, tmp_path, monkeypatch):
    monkeypatch.setenv("SIFT_LAUNCHER_HOME", str(tmp_path))
    with Standby(["json", "no_such_module"]):
        assert until(lambda: waiting(tmp_path))
    assert until(lambda: not waiting(tmp_path))


def test_it_waits_no_longer_when_the_plan_fails(cli, until):
    assert cli("nowhere.py").returncode == 2
    assert until(lambda: not waiting(cli.state))
