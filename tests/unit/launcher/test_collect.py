from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from sift_launcher.local.collect import collect
from sift_launcher.local.tree import HostTree


@pytest.fixture
def tree(tmp_path: Path) -> HostTree:
    tree = HostTree(tmp_path / "ml")
    (tree.model / "sub").mkdir(parents=True)
    tree.output_data.mkdir(parents=True)
    (tree.model / "sub" / "weights.bin").write_bytes(b"w")
    (tree.output_data / "metrics.csv").write_text("1")
    (tree.output_data / "receipt.json").write_text("{}")
    (tree.output_data / "receipt-1.json").write_text("{}")
    (tree.output_data / "receipt.svg").write_text("<svg/>")
    return tree


def names(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        return tar.getnames()


def test_model_and_outputs_are_packed_and_the_receipt_lies_beside(tree: HostTree, tmp_path: Path):
    model = collect({"algo-1": tree}, tmp_path / "out")
    assert model == tmp_path / "out" / "model.tar.gz"
    assert names(model) == ["sub", "sub/weights.bin"]
    assert names(tmp_path / "out" / "output.tar.gz") == [
        "metrics.csv", "receipt-1.json", "receipt.json", "receipt.svg",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "model.tar.gz", "output.tar.gz", "receipt-1.json", "receipt.json", "receipt.svg",
    ]  # fmt: skip


def test_an_archive_that_cannot_be_finished_is_not_there_at_all(tree: HostTree, tmp_path: Path):
    (tmp_path / "out" / "model.tar.gz").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        collect({"algo-1": tree}, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.tar.gz"]
    assert (tree.model / "sub" / "weights.bin").exists()


def filled(base: Path, **files: str) -> HostTree:
    tree = HostTree(base)
    tree.model.mkdir(parents=True)
    tree.output_data.mkdir(parents=True)
    for name, content in files.items():
        (base / name.replace("__", "/")).with_suffix(".json").write_text(content)
    return tree


def found(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_other_hosts_leave_is_kept_apart_and_the_ranks_receipts_together(tmp_path: Path):
    trees = {
        "algo-1": filled(tmp_path / "1", model__weights="first", output__data__receipt="0"),
        "algo-2": filled(tmp_path / "2", model__weights="second"),
        "algo-3": filled(tmp_path / "3"),
        "algo-4": filled(tmp_path / "4"),
    }
    (trees["algo-3"].output_data / "receipt-2.json").write_text("2")
    model = collect(trees, tmp_path / "out")
    assert found(tmp_path / "out") == [
        "algo-2/model.tar.gz",
        "algo-3/output.tar.gz",
        "model.tar.gz",
        "output.tar.gz",
        "receipt-2.json",
        "receipt.json",
    ]
    contents = []
    for archive in (model, tmp_path / "out" / "algo-2" / "model.tar.gz"):
        with tarfile.open(archive) as tar:
            contents.append(tar.extractfile("weights.json").read())
    assert contents == [b"first", b"second"]


def test_receipts_of_one_name_are_all_kept(tmp_path: Path):
    trees = {
        host: filled(tmp_path / host, output__data__receipt=host) for host in ("algo-1", "algo-2")
    }
    collect(trees, tmp_path / "out")
    assert (tmp_path / "out" / "receipt.json").read_text() == "algo-1"
    assert (tmp_path / "out" / "algo-2" / "receipt.json").read_text() == "algo-2"
