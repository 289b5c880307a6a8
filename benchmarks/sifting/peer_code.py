"""InfoBatch's own source: fetched beside this project, never a part of it (it has no licence)."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.sifting.data import cache

REPOSITORY = "https://github.com/NUS-HPC-AI-Lab/InfoBatch"
COMMIT = "8bbb012c256c9eb4de3bb209f8a5e73899de8d02"
SHA256 = "bcb2a42551bbdfd56bc08bf155d1c0f464a04049d208577dcc43808f9b6e0499"
"""Of its one module."""

QUIET = os.environ | {"GIT_TERMINAL_PROMPT": "0"}


class PeerMissing(Exception):
    """A peer's code is not to be had; the text says why."""


def infobatch_folder() -> Path:
    """The folder that holds the package `infobatch`, cloned first where it is not there.

    Raises ``PeerMissing``.
    """
    folder = cache() / "benchmarks" / "infobatch"
    if not _is_there(folder):
        _clone(folder)
    return folder


def _is_there(folder: Path) -> bool:
    module = folder / "infobatch" / "infobatch.py"
    return module.exists() and hashlib.sha256(module.read_bytes()).hexdigest() == SHA256


def _clone(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch) / "clone"
        for command in (
            ["git", "clone", "--quiet", REPOSITORY, str(clone)],
            ["git", "-C", str(clone), "checkout", "--quiet", COMMIT],
        ):
            result = subprocess.run(command, env=QUIET, capture_output=True, text=True)
            if result.returncode != 0:
                reason = result.stderr.strip().splitlines()[-1:]
                raise PeerMissing(f"InfoBatch's source is not to be had: {' '.join(reason)}")
        if not _is_there(clone):
            raise PeerMissing("InfoBatch's source is not the one that was measured")
        shutil.copytree(clone / "infobatch", folder / "infobatch", dirs_exist_ok=True)
