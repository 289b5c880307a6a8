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
    model = collect(tree, tmp_path / "out")
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
        collect(tree, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.tar.gz"]
    assert (tree.model / "sub" / "weights.bin").exists()
