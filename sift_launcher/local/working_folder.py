"""What a script wrote into its working folder, which is a copy that goes when the job ends.

In the cloud such files are lost. Here a script that saves `model.pt` beside itself, as it does
when it is run by hand, finds it again.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TypeAlias

Snapshot: TypeAlias = "dict[str, tuple[int, int]]"


def snapshot(folder: Path) -> Snapshot:
    """The size and the time of change of every file below `folder`; bytecode is passed over."""
    found = {}
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in files:
            path = Path(root, name)
            stat = path.lstat()
            found[str(path.relative_to(folder))] = (stat.st_size, stat.st_mtime_ns)
    return found


def keep_written(folder: Path, before: Snapshot, destination: Path) -> None:
    """Moves the files that are new or changed since `before` to `destination`, made if needed.

    Raises OSError when it cannot be written.
    """
    for path, state in snapshot(folder).items():
        if before.get(path) != state:
            (destination / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(folder / path, destination / path)
