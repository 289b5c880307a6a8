"""Unpacking what a job left: plain files below one folder, whatever the archive says."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath

from sift_launcher.errors import OutputError


def unpack(archive: Path) -> Path:
    """Unpacks NAME.tar.gz into the folder NAME beside it, which is replaced; returns that folder.

    Links, devices and whatever would come to lie outside are refused. Raises OutputError.
    """
    folder = archive.with_name(archive.name.removesuffix(".tar.gz"))
    aside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        with tarfile.open(archive) as tar:
            for member in tar:
                _extract(tar, member, aside, archive)
        shutil.rmtree(folder, ignore_errors=True)
        aside.replace(folder)
    except (tarfile.TarError, EOFError) as error:
        raise OutputError(f"{archive} is no whole archive ({error}): download it anew") from error
    except OSError as error:
        raise OutputError(f"cannot unpack {archive} ({error.strerror}): make room there") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, archive: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
        raise OutputError(
            f"{archive} holds {member.name!r}, which is no plain file below a folder: it is left "
            "packed; tar -tvf lists what is in it"
        )
    # By hand: extraction filters are not in every Python 3.10.
    target = folder / path
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    if source is None:
        raise tarfile.ReadError(f"{member.name} has no content")
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
