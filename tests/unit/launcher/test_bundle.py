from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from sift_launcher.bundle import CodeBundle, CodeFile, list_bundle, megabytes, pack
from sift_launcher.errors import CodeBundleError


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def names(bundle: CodeBundle) -> list[str]:
    return [file.path for file in bundle.files]


def test_a_bundle_is_the_folders_files_sorted_with_their_sizes(tmp_path: Path):
    write(tmp_path, "train.py", "net/conv.py", "conf.yaml")
    assert list_bundle(tmp_path, "train.py") == CodeBundle(
        str(tmp_path),
        (CodeFile("conf.yaml", 9), CodeFile("net/conv.py", 11), CodeFile("train.py", 8)),
    )


def test_version_control_environments_caches_and_secrets_stay_behind(tmp_path: Path):
    write(tmp_path, "train.py", ".git/HEAD", "venv/x", ".venv/y", "a/__pycache__/b.pyc", "a/c.py")
    write(tmp_path, "myenv/pyvenv.cfg", "myenv/lib/z.py", ".env", ".env.prod", "p.egg-info/PKG")
    bundle = list_bundle(tmp_path, "train.py")
    assert names(bundle) == ["a/c.py", "train.py"]
    assert bundle.left_out == (
        ".env", ".env.prod", ".git/", ".venv/", "a/__pycache__/", "myenv/", "p.egg-info/", "venv/",
    )  # fmt: skip


def test_the_output_folder_and_other_jobs_outputs_stay_behind(tmp_path: Path):
    write(tmp_path, "train.py", "sift-output/a/output/model.tar.gz", "old/source/sourcedir.tar.gz")
    bundle = list_bundle(tmp_path, "train.py", exclude=[tmp_path / "sift-output"])
    assert names(bundle) == ["train.py"]
    assert bundle.left_out == ("old/", "sift-output/")


def test_a_source_folder_that_is_the_output_folder_too_travels(tmp_path: Path):
    write(tmp_path, "train.py", "sub/a.py", "sub/train.py")
    assert names(list_bundle(tmp_path, "train.py", exclude=[tmp_path])) == [
        "sub/a.py", "sub/train.py", "train.py",
    ]  # fmt: skip
    assert names(list_bundle(tmp_path, "sub/train.py", exclude=[tmp_path / "sub"])) == [
        "sub/a.py", "sub/train.py", "train.py",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("gitignore", "kept"),
    [
        ("*.ckpt\n", ["data/big.bin", "data/keep.txt", "lib/data/x", "train.py"]),
        ("# data/\n\ndata/\n", ["a.ckpt", "train.py"]),
        ("/data\n", ["a.ckpt", "lib/data/x", "train.py"]),
        ("data/*\n!data/keep.txt\n", ["a.ckpt", "data/keep.txt", "lib/data/x", "train.py"]),
        ("**/data/\n", ["a.ckpt", "train.py"]),
        ("lib/data\n", ["a.ckpt", "data/big.bin", "data/keep.txt", "train.py"]),
        ("a.ckpt/\n", ["a.ckpt", "data/big.bin", "data/keep.txt", "lib/data/x", "train.py"]),
        ("*\n", ["train.py"]),
    ],
)
def test_gitignore_is_honoured_and_the_script_travels_all_the_same(
    tmp_path: Path, gitignore: str, kept: list[str]
):
    write(tmp_path, "train.py", "a.ckpt", "data/big.bin", "data/keep.txt", "lib/data/x")
    (tmp_path / ".gitignore").write_text(gitignore)
    assert [n for n in names(list_bundle(tmp_path, "train.py")) if n != ".gitignore"] == kept


def test_a_script_in_a_folder_that_is_left_out_travels(tmp_path: Path):
    write(tmp_path, "build/train.py", "build/other.py", "x.py")
    (tmp_path / ".gitignore").write_text("build/\nother.py\n.gitignore\n")
    assert names(list_bundle(tmp_path, "build/train.py")) == ["build/train.py", "x.py"]


def test_a_folder_that_two_links_name_travels_twice(tmp_path: Path):
    write(tmp_path, "code/train.py", "shared/util.py")
    (tmp_path / "code/one").symlink_to("../shared")
    (tmp_path / "code/two").symlink_to("../shared")
    assert names(list_bundle(tmp_path / "code", "train.py")) == [
        "one/util.py", "train.py", "two/util.py",
    ]  # fmt: skip


def test_links_are_followed_once(tmp_path: Path):
    write(tmp_path, "code/train.py", "shared/util.py")
    (tmp_path / "code/shared").symlink_to("../shared")
    (tmp_path / "code/loop").symlink_to(".")
    (tmp_path / "code/broken").symlink_to("nowhere")
    (tmp_path / "code/itself").symlink_to("itself")
    bundle = list_bundle(tmp_path / "code", "train.py")
    assert names(bundle) == ["shared/util.py", "train.py"]
    pack(bundle, tmp_path / "code.tar.gz")
    with tarfile.open(tmp_path / "code.tar.gz") as archive:
        assert all(member.isreg() for member in archive)
        assert archive.extractfile("shared/util.py").read() == b"shared/util.py"


def test_a_folder_too_large_is_refused_with_its_largest_files_and_the_mend(tmp_path: Path):
    write(tmp_path, "train.py", "small.bin")
    for name, size in (("big.bin", 600_000_000), ("medium.bin", 2_000_000)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    with pytest.raises(CodeBundleError) as caught:
        list_bundle(tmp_path, "train.py")
    assert str(caught.value).startswith(f"{tmp_path} is too large to travel as code: ")
    assert "the largest: big.bin (600.0 MB)" in str(caught.value)
    assert "--source-dir" in str(caught.value)
    assert "--data CHANNEL=PATH" in str(caught.value)


def packed(root: Path, target: Path) -> str:
    pack(list_bundle(root, "train.py"), target)
    return hashlib.sha256(target.read_bytes()).hexdigest()


CONTENTS = {
    "train.py": b"print(1)\n",
    "run.sh": b"#!/bin/sh\n",
    "empty.txt": b"",
    "data/exactly-512": b"x" * 512,
    "data/big.bin": bytes(range(256)) * 10_000,
    "data/" + "deep/" * 30 + "long.txt": b"long",
    "src/ünï ✓.txt": b"unicode",
}
# Kept as it is: an archive must be the same on every machine, today and with the next version.
DIGEST_OF_THE_TAR = "4d91ce6bb0b774aea167c951e91c8525dd332d81f5926529e9257f9180cfd6d3"


def lay_out(root: Path) -> None:
    for path, content in CONTENTS.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    (root / "run.sh").chmod(0o755)


def test_an_archive_depends_on_contents_alone(tmp_path: Path):
    lay_out(tmp_path / "here")
    here = packed(tmp_path / "here", tmp_path / "1.tar.gz")
    before = os.umask(0o077)
    try:
        lay_out(tmp_path / "there")
    finally:
        os.umask(before)
    for path in (tmp_path / "there").rglob("*"):
        os.utime(path, (1, 1))
        if os.geteuid() == 0:
            os.chown(path, 54321, 54321)
    (tmp_path / "there" / "run.sh").chmod(0o700)
    assert packed(tmp_path / "there", tmp_path / "2.tar.gz") == here
    tar = gzip.decompress((tmp_path / "1.tar.gz").read_bytes())
    assert hashlib.sha256(tar).hexdigest() == DIGEST_OF_THE_TAR


@pytest.mark.parametrize("change", ["content", "name", "bit"])
def test_another_content_name_or_executable_bit_gives_another_archive(tmp_path: Path, change: str):
    lay_out(tmp_path / "a")
    before = packed(tmp_path / "a", tmp_path / "1.tar.gz")
    path = tmp_path / "a" / "empty.txt"
    if change == "content":
        path.write_text(" ")
    elif change == "name":
        path.rename(path.with_name("void.txt"))
    else:
        path.chmod(0o755)
    assert packed(tmp_path / "a", tmp_path / "2.tar.gz") != before


def test_an_archive_is_one_that_every_tar_reads(tmp_path: Path):
    lay_out(tmp_path / "a")
    packed(tmp_path / "a", tmp_path / "code.tar.gz")
    with tarfile.open(tmp_path / "code.tar.gz") as archive:
        members = archive.getmembers()
        assert {m.name: archive.extractfile(m).read() for m in members} == CONTENTS
    assert [m.name for m in members] == sorted(CONTENTS)
    assert {m.name for m in members if m.mode == 0o755} == {"run.sh"}
    traits = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.type) for m in members}
    assert traits == {(0, 0, 0, "", "", tarfile.REGTYPE)}
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-xzf", tmp_path / "code.tar.gz", "-C", out], check=True)
    assert {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} == set(CONTENTS)


def test_a_file_that_cannot_be_packed_is_named(tmp_path: Path):
    write(tmp_path, "train.py", "gone.py")
    bundle = list_bundle(tmp_path, "train.py")
    (tmp_path / "gone.py").unlink()
    with pytest.raises(CodeBundleError, match=r"cannot read .*/gone\.py \(No such file"):
        pack(bundle, tmp_path / "code.tar.gz")


def test_a_file_that_becomes_shorter_while_it_is_packed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(tmp_path, "train.py")
    bundle = list_bundle(tmp_path, "train.py")
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        content = real(descriptor, min(size, 3))
        os.truncate(tmp_path / "train.py", 3)
        return content

    monkeypatch.setattr(os, "read", read)
    with pytest.raises(CodeBundleError, match=r"train\.py became shorter while it was packed"):
        pack(bundle, tmp_path / "code.tar.gz")


def test_an_archive_that_is_there_is_never_written_over(tmp_path: Path):
    write(tmp_path, "train.py", "there.tar.gz")
    with pytest.raises(FileExistsError):
        pack(list_bundle(tmp_path, "train.py"), tmp_path / "there.tar.gz")
    assert (tmp_path / "there.tar.gz").read_text() == "there.tar.gz"


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 B"), (999, "999 B"), (4200, "4.2 kB"), (31_000_000, "31.0 MB")]
)
def test_sizes_are_shown_in_readable_units(size: int, shown: str):
    assert megabytes(size) == shown
