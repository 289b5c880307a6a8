from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sift_launcher.image.context import container_folder

FOLDER = container_folder()
DOCKERFILES = ("Dockerfile", "Dockerfile.stock")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_linter_finds_nothing_in_the_dockerfiles(name):
    linter = Path(sys.executable).with_name("hadolint")
    # DL3008: a package's version is the base's to choose; DL3002: SageMaker runs it as root.
    passed = ["--ignore", "DL3008", "--ignore", "DL3002"]
    done = subprocess.run(
        [linter, *passed, FOLDER / name], capture_output=True, text=True, check=False
    )
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("name", DOCKERFILES)
def test_every_engines_builder_can_read_them_and_pid_1_is_ours(name):
    text = (FOLDER / name).read_text()
    assert "--mount" not in text and "<<" not in text and "# syntax" not in text
    entrypoint = re.search(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)
    assert entrypoint and entrypoint[1].startswith("[") and "sift_entrypoint" in entrypoint[1]


def test_everything_locked_has_a_version_and_hashes():
    lines = (FOLDER / "requirements.lock").read_text().replace("\\\n", " ").splitlines()
    entries = [line for line in lines if not line.startswith("#")]
    form = r"[a-z0-9-]+==[\w.]+(; python_version (<|>=) '3\.11')?( +--hash=sha256:[0-9a-f]{64})+"
    assert [entry for entry in entries if not re.fullmatch(form, entry)] == []
    names = {entry.partition("==")[0] for entry in entries}
    assert {"numpy", "pip", "sympy", "filelock", "typing-extensions"} <= names
    assert "torch" not in names


@pytest.mark.parametrize("name", ["bootstrap", "wheelhouse"])
def test_the_scripts_can_be_run(name):
    assert (FOLDER / name).stat().st_mode & 0o111
