"""A file that is replaced only once its successor is whole."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PART_PREFIX = "part-"


def replaceable(target: Path) -> bool:
    """Whether a new file may take the target's place and nobody can tell it from one written over.

    A missing folder, a link, another's file: there the script must see what it would have seen.
    """
    if not os.access(target.parent, os.W_OK | os.X_OK):
        return False
    try:
        found = target.lstat()
        # Both must fit on the disk for a while.
        roomy = shutil.disk_usage(target.parent).free > found.st_size
    except FileNotFoundError:
        return target.parent.is_dir()
    except OSError:
        return False
    ordinary = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
    own = found.st_uid == os.geteuid() and os.access(target, os.W_OK)
    return roomy and ordinary and own


def write_whole(
    target: Path, scratch: Path, write: Callable[[str], None], finished: Callable[[Path], None]
) -> bool:
    """Let `write` fill a file of the target's name in `scratch`, then put it in its place.

    `finished` is told of the whole file just before. What `write` raises is raised, and leaves
    the target as it was. False if the disk allows no such way; the target is then as it was too.
    """
    # Torch writes the name into the file, and another one where the path is not ASCII.
    kind = "" if str(target).isascii() else "é-"
    try:
        made = tempfile.mkdtemp(prefix=f"{PART_PREFIX}{os.getpid()}-{kind}", dir=scratch)
    except OSError:
        return False
    part = Path(made) / target.name
    try:
        write(str(part))
        finished(part)
        return _take_place(part, target)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _take_place(part: Path, target: Path) -> bool:
    try:
        with suppress(FileNotFoundError):
            part.chmod(stat.S_IMODE(target.stat().st_mode))
        part.replace(target)
    except OSError:
        return False
    return True


def sweep(scratch: Path) -> None:
    """Remove what processes that are gone have left half written."""
    for folder in scratch.glob(f"{PART_PREFIX}*"):
        owner = folder.name.removeprefix(PART_PREFIX).partition("-")[0]
        if not owner.isdecimal() or not _alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    if process == os.getpid():
        return False  # in a new container numbers begin anew, and this process has none yet
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
