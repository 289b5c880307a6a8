from __future__ import annotations

import io
import os
import tarfile

import pytest

from sift_launcher.errors import BuildFailed
from sift_launcher.image.context import (
    ContextFile,
    container_folder,
    full_context,
    stock_context,
    tar_stream,
)
from sift_launcher.image.spec import ImageSpec
from sift_launcher.runtime import runtime_files


def read(files):
    stream = io.BytesIO(b"".join(tar_stream(files)))
    with tarfile.open(fileobj=stream) as tar:
        return {each.name: (each, tar.extractfile(each)) for each in tar.getmembers()}


def test_the_context_is_what_the_dockerfile_copies(tmp_path):
    (tmp_path / "torch-2.13.0-py3-none-any.whl").write_bytes(b"wheel")
    requirements = tmp_path / "more.txt"
    requirements.write_text("tqdm\n")
    files = full_context(ImageSpec(wheelhouse=tmp_path, requirements=requirements), {"a": "b"})
    runtime = {f"runtime/{name}" for name in runtime_files()}
    assert set(files) == runtime | {
        "Dockerfile",
        "install.py",
        "requirements.lock",
        "requirements.txt",
        "runtime/sagemaker_training/__init__.py",
        "runtime/sagemaker_training/environment.py",
        "wheelhouse/torch-2.13.0-py3-none-any.whl",
    }
    members = read(files)
    assert members["requirements.txt"][1].read() == b"tqdm\n"
    whole = (container_folder() / "Dockerfile").read_bytes() + b'LABEL "a"="b"\n'
    assert members["Dockerfile"][1].read() == whole


def test_without_a_wheelhouse_there_is_an_empty_one_to_copy():
    member, _ = read(full_context(ImageSpec(), {"a": "b"}))["wheelhouse"]
    assert member.isdir()


def test_an_image_that_has_torch_gets_the_runtime_alone():
    files = stock_context(with_entrypoint=False, labels={"b": 'x "$Y" \\', "a": "é"})
    names = {name for name in files if not name.startswith("runtime/")}
    assert names == {"Dockerfile", "install.py"}
    assert not any("sagemaker_training" in name for name in files)  # it may have the toolkit
    text = b"".join(files["Dockerfile"].chunks()).decode()
    assert text.startswith("# On top of an image")
    assert "ENTRYPOINT" not in text
    assert text.endswith('LABEL "a"="é" \\\n      "b"="x \\"\\$Y\\" \\\\"\n')


def test_the_stream_is_the_same_whatever_dates_owners_and_permissions_are(tmp_path):
    path = tmp_path / "a.whl"
    path.write_bytes(b"x" * 3_000_000)
    files = {"wheelhouse/a.whl": ContextFile(path), "b/c/d.txt": ContextFile(b"d")}
    one = b"".join(tar_stream(files))
    os.utime(path, (1, 1))
    path.chmod(0o600)
    other = b"".join(tar_stream(dict(reversed(files.items()))))
    assert one == other
    members = read(files)
    assert list(members) == ["b", "b/c", "wheelhouse", "b/c/d.txt", "wheelhouse/a.whl"]
    assert {(each.mtime, each.uid, each.gid) for each, _ in members.values()} == {(0, 0, 0)}
    assert members["wheelhouse/a.whl"][1].read() == b"x" * 3_000_000


def test_a_large_file_is_never_whole_in_memory(tmp_path):
    path = tmp_path / "a.whl"
    with path.open("wb") as stream:
        stream.truncate(50_000_000)
    assert max(map(len, tar_stream({"a.whl": ContextFile(path)}))) <= 1 << 20


def test_a_file_that_shrinks_while_it_is_sent_is_named(tmp_path):
    path = tmp_path / "a.whl"
    path.write_bytes(b"x" * 3_000_000)
    stream = tar_stream({"a.whl": ContextFile(path)})
    for chunk in stream:
        if chunk.startswith(b"xxx"):
            path.write_bytes(b"")
            break
    with pytest.raises(BuildFailed, match=r"a\.whl changed while it was sent"):
        list(stream)
