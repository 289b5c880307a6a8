"""A project may name its files as Python names its own modules."""

from __future__ import annotations

import os
import subprocess
import sys


def test_a_projects_files_are_not_taken_for_pythons_own(cli, tmp_path):
    # As the installed command does it, and unlike `python -m`, which looks into the project first.
    command = tmp_path / "sift-launch.py"
    command.write_text("from sift_launcher.cli import main\nmain()\n")
    for name in ("json.py", "select.py", "tarfile.py", "fcntl.py"):
        cli.script("raise SystemExit('the project's own')", name)
    cli.script("print('trained')")
    ended = subprocess.run(
        [sys.executable, str(command), "train.py", "--name", "first"],
        cwd=cli.project,
        env=cli.environment | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "trained\n"), ended.stderr
