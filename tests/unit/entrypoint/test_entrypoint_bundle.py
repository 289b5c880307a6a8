"""Archives are unpacked safely by Pythons that have no filter for them, too."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from sift_entrypoint.bundle import bring
from sift_entrypoint.contract import Job, Tree
from sift_entrypoint.errors import CodeError


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    for name in ("data_filter", "FilterError"):  # as in Debian 12's Python
        monkeypatch.delattr(tarfile, name, raising=False)
    trusting = staticmethod(lambda member, path: member)
    monkeypatch.setattr(tarfile.TarFile, "extraction_filter", trusting, raising=False)
    return Tree(str(tmp_path / "ml"))


def job(tree: Tree, tmp_path: Path, *members: tarfile.TarInfo) -> Job:
    with tarfile.open(tmp_path / "code.tar.gz", "w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    parameters = {"sagemaker_submit_directory": str(tmp_path / "code.tar.gz")}
    return Job(tree, parameters, {}, {}, None, {})


def member(name: str, kind: bytes = tarfile.REGTYPE, **traits: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for trait, value in traits.items():
        setattr(made, trait, value)
    return made


def test_files_and_folders_are_unpacked_as_ours(tree: Tree, tmp_path: Path) -> None:
    run = member("bin/run.sh", size=5, mode=0o6777, uid=54321, gid=54321, uname="nobody")
    folder = member("data/", tarfile.DIRTYPE, mode=0)
    code = Path(bring(job(tree, tmp_path, run, folder)))
    assert code == tmp_path / "ml" / "code"
    assert (code / "bin/run.sh").read_text() == "xxxxx"
    assert (code / "bin/run.sh").stat().st_mode & 0o7777 == 0o755
    assert (code / "bin/run.sh").stat().st_uid == os.geteuid()
    assert (code / "data").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (member("../outside"), "it would land outside the folder"),
        (member("a/../../outside"), "it would land outside the folder"),
        (member("/tmp/absolute"), "it would land outside the folder"),
        (member("link", tarfile.SYMTYPE, linkname="a"), "a link or device, which Python from"),
        (member("link", tarfile.LNKTYPE, linkname="a"), "a link or device, which Python from"),
        (member("pipe", tarfile.FIFOTYPE), "a link or device, which Python from"),
    ],
)
def test_all_else_is_refused_before_anything_is_unpacked(
    tree: Tree, tmp_path: Path, bad: tarfile.TarInfo, why: str
) -> None:
    with pytest.raises(CodeError) as caught:
        bring(job(tree, tmp_path, member("first"), bad))
    assert str(caught.value).startswith(
        f"{tmp_path}/code.tar.gz: refused member {bad.name!r}: {why}"
    )
    assert list((tmp_path / "ml" / "code").iterdir()) == []


def test_what_is_no_archive_is_named(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_text("text")
    parameters = {"sagemaker_submit_directory": str(tmp_path / "x.tar.gz")}
    with pytest.raises(CodeError, match=r"x\.tar\.gz is not a tar archive: pack the code with"):
        bring(Job(tree, parameters, {}, {}, None, {}))
