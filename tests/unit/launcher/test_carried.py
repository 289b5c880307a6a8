"""The runtime that travels with the code: its files, and an archive that is always the same."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from sift_launcher.bundle import CodeBundle, list_bundle, pack
from sift_launcher.carried import carried_files, cloud_entrypoint


def packed(folder: Path, bundle: CodeBundle) -> Path:
    folder.mkdir()
    pack(bundle, folder / "code.tar.gz")
    return folder / "code.tar.gz"


def test_the_packages_travel_below_their_folder_without_the_hook():
    paths = {file.path for file in carried_files()}
    assert ".sift/sift_entrypoint/__main__.py" in paths
    assert ".sift/sift_entrypoint/site/sitecustomize.py" in paths
    assert ".sift/smart_sifting/__init__.py" in paths
    assert {path.split("/")[1] for path in paths} == {"sift_entrypoint", "smart_sifting"}
    assert not any("__pycache__" in path or path.endswith(".pth") for path in paths)


def test_the_archive_is_the_same_wherever_and_whenever_the_runtime_was_installed(tmp_path: Path):
    elsewhere = []
    for file in carried_files():
        copy = tmp_path / "copy" / file.path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.source or "", copy)
        copy.chmod(0o600)
        os.utime(copy, (1, 1))
        elsewhere.append(replace(file, source=str(copy)))
    here = packed(tmp_path / "a", CodeBundle("/nowhere", carried_files()))
    there = packed(tmp_path / "b", CodeBundle("/elsewhere", tuple(elsewhere)))
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (here, there)}
    assert len(digests) == 1
    with tarfile.open(here) as archive:
        assert {(member.mtime, member.mode) for member in archive} == {(0, 0o644)}


def test_what_was_unpacked_runs_without_the_packages_it_came_from(tmp_path: Path):
    with tarfile.open(packed(tmp_path / "a", CodeBundle("/nowhere", carried_files()))) as archive:
        for member in archive:
            target = tmp_path / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            content = archive.extractfile(member)
            target.write_bytes(content.read() if content else b"")
    code = (
        "import os; os.environ['SM_HP_SIFT_CONFIG'] = '{}'\n"
        "import sitecustomize, sys, smart_sifting\n"  # Debian's own is run after ours
        "print(sys.modules['sift_entrypoint.activate'].__file__, smart_sifting.__file__)"
    )
    folder = tmp_path / ".sift"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": f"{folder}/sift_entrypoint/site:{folder}"},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout.split() == [
        f"{folder}/sift_entrypoint/activate.py",
        f"{folder}/smart_sifting/__init__.py",
    ]


@pytest.mark.parametrize("name", [".sift/train.py", ".sift/smart_sifting/__init__.py"])
def test_a_folder_of_that_name_in_the_source_folder_stays_behind(tmp_path: Path, name: str):
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).touch()
    (tmp_path / "train.py").touch()
    bundle = list_bundle(tmp_path, "train.py")
    assert [file.path for file in bundle.files] == ["train.py"]
    assert bundle.left_out == (".sift/",)


def test_the_start_in_the_cloud_fits_into_a_request():
    # What botocore's model of CreateTrainingJob says of ContainerEntrypoint.
    entrypoint = cloud_entrypoint()
    assert entrypoint[0] == "python3"
    assert len(entrypoint) <= 100
    assert max(len(word) for word in entrypoint) <= 256
    assert not any("\n" in word for word in entrypoint)
