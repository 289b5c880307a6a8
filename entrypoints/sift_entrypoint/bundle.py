"""Bringing the submitted code to the folder it runs in."""

from __future__ import annotations

import os

from .contract import Job
from .errors import CodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from typing import IO


def bring(job: Job) -> str:
    """The folder with the job's code, unpacked where it comes as an archive.

    A local folder is used in place, an archive may lie in S3 too. Raises `CodeError` where there
    is no such code, or the archive has a member that would land outside the folder.
    """
    tree = job.tree
    if job.source:
        return _existing(os.path.join(tree.data, "code"))
    submitted = str(job.reserved.get("sagemaker_submit_directory") or tree.code)
    if submitted.startswith("s3://"):
        _fetch(submitted, tree.code, str(job.reserved.get("sagemaker_region") or ""))
        return tree.code
    if submitted.startswith("file://"):
        submitted = _local_path(submitted)
    if os.path.isfile(submitted):
        with open(submitted, "rb") as archive:
            _unpack(submitted, archive, tree.code)
        return tree.code
    return _existing(submitted)


def _existing(folder: str) -> str:
    if not os.path.isdir(folder):
        raise CodeError(f"no code: {folder} is not there; name a folder or a tar.gz that is")
    return os.path.abspath(folder)


def _local_path(address: str) -> str:
    from urllib.parse import unquote, urlsplit  # few jobs come with an address

    return unquote(urlsplit(address).path)


def _fetch(address: str, folder: str, region: str) -> None:
    import tempfile

    from . import s3  # and with it ssl: a job whose code is here starts without

    try:
        with tempfile.TemporaryFile() as archive:
            s3.fetch(address, archive, region)
            archive.seek(0)
            _unpack(address, archive, folder)
    except OSError as error:
        raise CodeError(f"no room to fetch {address}: {error}; set TMPDIR to a folder") from error


def _unpack(name: str, archive: IO[bytes], folder: str) -> None:
    import tarfile  # few jobs on this host come as an archive

    try:
        os.makedirs(folder, exist_ok=True)
        with tarfile.open(fileobj=archive) as tar:
            if hasattr(tarfile, "data_filter"):
                tar.extractall(folder, filter=_refuse_outsiders)
            else:  # as in Debian 12's Python
                tar.extractall(folder, [_plain(name, member) for member in tar])
    except getattr(tarfile, "FilterError", ()) as error:
        # The filter's own words quote the member as it was found.
        raise _refused(name, error.tarinfo, str(error)) from error
    except tarfile.TarError as error:
        raise CodeError(f"{name} is not a tar archive: pack the code with tar -czf") from error
    except (OSError, EOFError) as error:
        raise CodeError(f"cannot unpack {name} into {folder}: {error}") from error


def _refuse_outsiders(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """The standard data filter, which alone would turn ``/etc/x`` into ``etc/x`` without a word."""
    import tarfile

    if member.name.startswith(("/", os.sep)):
        raise tarfile.AbsolutePathError(member)
    return tarfile.data_filter(member, folder)


def _plain(name: str, member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A file or folder as it is unpacked without the standard filter: links may lead anywhere."""
    if not member.isreg() and not member.isdir():
        raise _refused(name, member, "a link or device, which Python from 3.11.4 on can unpack")
    if member.name.startswith("/") or ".." in member.name.split("/"):
        raise _refused(name, member, "it would land outside the folder")
    member.mode = 0o755 if member.isdir() else member.mode & 0o755 | 0o600
    member.uid, member.gid, member.uname, member.gname = os.geteuid(), os.getegid(), "", ""
    return member


def _refused(name: str, member: tarfile.TarInfo, why: str) -> CodeError:
    return CodeError(
        f"{name}: refused member {member.name!r}: {why}; pack the code with paths inside its folder"
    )
