"""What a host leaves behind, put where the request wants it."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from sift_launcher.local.tree import HostTree

RECEIPT_FILES = ("receipt*.json", "receipt.svg", "receipt.png")


def collect(tree: HostTree, destination: Path) -> Path:
    """Packs the model and the outputs of `tree` into `destination`; returns the model's archive.

    As the service does, model.tar.gz and output.tar.gz hold the *contents* of their folders; the
    receipt lies beside them unpacked. Each archive is there whole or not at all. Raises OSError
    when `destination` cannot be written; the tree is as it was.
    """
    destination.mkdir(parents=True, exist_ok=True)
    model = _pack(tree.model, destination / "model.tar.gz")
    _pack(tree.output_data, destination / "output.tar.gz")
    for pattern in RECEIPT_FILES:
        for file in tree.output_data.glob(pattern):
            shutil.copy2(file, destination / file.name)
    return model


def _pack(folder: Path, archive: Path) -> Path:
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
    return archive
