"""The hosts' shares of a channel, as SageMaker deals its objects out with ShardedByS3Key."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")


def share_of(items: Sequence[Item], index: int, count: int) -> Sequence[Item]:
    """What the host with that index gets of `items`, which are in the order of their keys.

    The shares are disjoint, together they are all, and they differ by one item at most.
    """
    return items[index::count]


def files_below(folder: Path) -> list[str]:
    """The relative paths of all files below `folder`, in the order of S3's keys."""
    found = []
    for root, _, names in os.walk(folder, followlinks=True):
        found += [os.path.relpath(os.path.join(root, name), folder) for name in names]  # noqa: PTH118
    return sorted(found, key=os.fsencode)


def link_files(source: Path, names: Sequence[str], folder: Path) -> None:
    """Makes `folder` and, in it, the files `names` of `source`: links of them, which take no room,
    and copies where the files lie on another disk or cannot be linked. Raises OSError."""
    folder.mkdir(parents=True)
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        original = (source / name).resolve()
        try:
            os.link(original, target)
        except OSError:
            shutil.copy2(original, target)
