"""What the hosts leave behind, put where the request wants it."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

from sift_launcher.local.tree import HostTree

RECEIPT_FILES = ("receipt*.json", "receipt.svg", "receipt.png")


def collect(
    trees: Mapping[str, HostTree], destination: Path, *, with_receipts: bool = True
) -> Path:
    """Packs the models and the outputs of all hosts below `destination`; returns the archive of
    the model.

    As in the service, model.tar.gz and output.tar.gz hold the *contents* of the first host's
    folders. There, other hosts' files of the same names are lost; here they are in archives of
    their own, below <host>/, where a host left any. The receipts of all ranks lie beside the first
    host's archives, unpacked, unless `with_receipts` is false. Each archive is there whole or not
    at all. Raises OSError when `destination` cannot be written; the trees are as they were.
    """
    for host, tree in trees.items():
        folder = folder_of(host, destination)
        is_first = folder == destination
        for source, archive in ((tree.model, "model.tar.gz"), (tree.output_data, "output.tar.gz")):
            if is_first or any(source.iterdir()):
                folder.mkdir(parents=True, exist_ok=True)
                _pack(source, folder / archive)
        if with_receipts:
            _copy_receipts(tree, destination, folder)
    return destination / "model.tar.gz"


def folder_of(host: str, destination: Path) -> Path:
    """Where what `host` left belongs: the first host's lies directly in `destination`."""
    return destination if host == "algo-1" else destination / host


def _copy_receipts(tree: HostTree, destination: Path, own: Path) -> None:
    for pattern in RECEIPT_FILES:
        for file in tree.output_data.glob(pattern):
            # Ranks number their receipts through all hosts. Hosts that each are a rank 0, as in a
            # script that knows of no other host, have one of the same name.
            is_taken = own != destination and (destination / file.name).exists()
            shutil.copy2(file, (own if is_taken else destination) / file.name)


def _pack(folder: Path, archive: Path) -> None:
    aside = archive.with_name(archive.name + ".new")
    try:
        # Level 1: weights hardly shrink, and the user waits.
        with tarfile.open(aside, "w:gz", compresslevel=1) as tar:
            for path in sorted(folder.iterdir()):
                tar.add(path, arcname=path.name)
        aside.replace(archive)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
