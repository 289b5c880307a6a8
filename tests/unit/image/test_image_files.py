from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sift_launcher.image.base import BaseFacts
from sift_launcher.image.context import container_folder
from sift_launcher.image.plan import plan_build
from sift_launcher.image.spec import ImageSpec

FOLDER = container_folder()


BASES = {
    "whole": None,
    "toolkit": BaseFacts("aws:1", "toolkit", "amd64", "3.12.1", "2.13.0"),
    "plain": BaseFacts("torch:1", "plain", "amd64", "3.12.1", "2.13.0"),
}


@pytest.fixture(params=BASES)
def dockerfile(request):
    """As the engine gets it."""
    return plan_build(
        ImageSpec(base="some:1", labels={"a": "b $c"}), BASES[request.param]
    ).dockerfile


def test_a_linter_finds_nothing_in_the_dockerfiles(dockerfile):
    linter = Path(sys.executable).with_name("hadolint")
    # DL3008: a package's version is the base's to choose; DL3002: SageMaker runs it as root.
    call = [linter, "--ignore", "DL3008", "--ignore", "DL3002", "-"]
    done = subprocess.run(call, input=dockerfile, capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


def test_every_engines_builder_can_read_them_and_pid_1_is_ours(dockerfile):
    assert "--mount" not in dockerfile and "<<" not in dockerfile and "# syntax" not in dockerfile
    for entrypoint in re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE):
        assert json.loads(entrypoint)[-2:] == ["-m", "sift_entrypoint"]


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
