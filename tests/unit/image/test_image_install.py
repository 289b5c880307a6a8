"""The script that fills an image's folders, on small folders of our own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sift_launcher.image.context import container_folder

SCRIPT = container_folder() / "install.py"


@pytest.fixture(scope="module")
def install():
    spec = importlib.util.spec_from_file_location("install", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fill(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("NAMES = ['numpy', 'torch']\n")


def left(folder: Path) -> set[str]:
    return {each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()}


def test_what_no_training_imports_goes_and_the_rest_stays(install, tmp_path):
    kept = {
        "torch/__init__.py",
        "torch/bin/torch_shm_manager",
        "torch/lib/libtorch_cpu.so",
        "torch/testing/_internal/common.py",
        "numpy/testing/utils.py",
        "mine/tests/__init__.py",
    }
    gone = {
        "torch/test/test_a.py",
        "torch/share/cmake/Torch.cmake",
        "torch/include/ATen/ATen.h",
        "torch/bin/protoc",
        "torch/bin/models/a.ptl",
        "torch/lib/libtorchbind_test.so",
        "numpy/_core/lib/libnpymath.a",
        "numpy/linalg/tests/test_a.py",
        "sympy/core/tests/test_a.py",
    }
    fill(tmp_path, *kept, *gone)
    install.slim(tmp_path, with_headers=False)
    assert left(tmp_path) == kept


def test_a_compiler_finds_torchs_headers(install, tmp_path):
    fill(tmp_path, "torch/include/ATen/ATen.h", "torch/test/a.py")
    install.slim(tmp_path, with_headers=True)
    assert left(tmp_path) == {"torch/include/ATen/ATen.h"}


def test_the_same_files_settle_to_the_same_bytes(install, tmp_path):
    def settled(name: str) -> dict[str, bytes]:
        folder = tmp_path / name / "site"
        fill(folder, *(f"a/m{number}.py" for number in range(9)), "a/data.txt")
        (folder / "broken.py").write_text("print 'of another Python'\n")
        (folder / "link").symlink_to("a")
        # In the same place, as in two builds: a code object names its file.
        place = tmp_path / "place"
        folder.rename(place)
        install.settle(place, place)
        dates = {path.lstat().st_mtime for path in (place, *place.rglob("*"))}
        assert dates == {315532800}
        content = {each: (place / each).read_bytes() for each in left(place)}
        place.rename(folder)
        return content

    one, other = settled("one"), settled("other")
    assert one == other
    compiled = [name for name in one if name.endswith(".pyc")]
    assert len(compiled) == 9
    # Flags: the source's hash is in it, and is not checked.
    assert {one[name][4:8] for name in compiled} == {b"\x01\0\0\0"}


def test_a_second_settling_touches_only_what_is_new(install, tmp_path):
    fill(tmp_path, "a.py")
    install.settle(tmp_path, tmp_path)
    compiled = tmp_path / "__pycache__" / f"a.{sys.implementation.cache_tag}.pyc"
    before = compiled.stat()
    fill(tmp_path, "b.py")
    install.settle(tmp_path, tmp_path)
    assert (compiled.stat().st_ino, compiled.stat().st_ctime_ns) == (
        before.st_ino,
        before.st_ctime_ns,
    )
    assert (tmp_path / "__pycache__" / f"b.{sys.implementation.cache_tag}.pyc").exists()


def test_a_changed_file_is_compiled_anew(install, tmp_path):
    fill(tmp_path, "a.py")
    install.settle(tmp_path, tmp_path)
    (tmp_path / "a.py").write_text("print('new')\n")
    install.settle(tmp_path, tmp_path)
    call = [sys.executable, "-c", "import a"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "new\n"


def test_any_user_may_write_a_jobs_folders(install, tmp_path):
    mask = os.umask(0o077)
    try:
        assert install.job(tmp_path) == 0
    finally:
        os.umask(mask)
    root = tmp_path / "opt/ml"
    names = {each.relative_to(root).as_posix() for each in root.rglob("*")}
    assert names == {
        "code",
        "checkpoints",
        "input",
        "input/config",
        "input/data",
        "model",
        "output",
        "output/data",
    }
    assert {each.stat().st_mode & 0o777 for each in (root, *root.rglob("*"))} == {0o777}


def test_the_script_needs_the_standard_library_alone():
    call = [sys.executable, "-I", "-S", str(SCRIPT), "none"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "KeyError: 'none'"
