"""Bringing the submitted code to the folder it runs in."""

from __future__ import annotations

import os

from .contract import Job
from .errors import CodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile


def bring(job: Job) -> str:
    """The folder with the job's code, unpacked where it comes as an archive.

    A local folder is used in place. Raises `CodeError` where there is no such code, or the
    archive has a member that would land outside the folder.
    """
    tree = job.tree
    if job.source:
        return _existing(os.path.join(tree.data, "code"))
    submitted = str(job.reserved.get("sagemaker_submit_directory") or tree.code)
    if submitted.startswith("s3://"):
        raise CodeError(
            f"cannot fetch {submitted}: this build brings code from this host alone; "
            f"name a local folder or tar.gz in sagemaker_submit_directory"
        )
    if submitted.startswith("file://"):
        submitted = _local_path(submitted)
    if os.path.isfile(submitted):
        _unpack(submitted, tree.code)
        return tree.code
    return _existing(submitted)


def _existing(folder: str) -> str:
    if not os.path.isdir(folder):
        raise CodeError(f"no code: {folder} is not there; name a folder or a tar.gz that is")
    return os.path.abspath(folder)


def _local_path(address: str) -> str:
    from urllib.parse import unquote, urlsplit  # few jobs come with an address

    return unquote(urlsplit(address).path)


def _unpack(archive: str, folder: str) -> None:
    import tarfile  # few jobs on this host come as an archive

    if not hasattr(tarfile, "data_filter"):
        raise CodeError(
            "this Python cannot unpack an archive safely (tarfile.data_filter is missing): "
            "use 3.10.12, 3.11.4 or newer"
        )
    try:
        os.makedirs(folder, exist_ok=True)
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter=_refuse_outsiders)
    except tarfile.FilterError as error:
        # The filter's own words quote the member as it was found.
        raise CodeError(
            f"{archive}: refused member {error.tarinfo.name!r}: {error}; "
            f"pack the code with paths inside its folder"
        ) from error
    except tarfile.TarError as error:
        raise CodeError(f"{archive} is not a tar archive: pack the code with tar -czf") from error
    except (OSError, EOFError) as error:
        raise CodeError(f"cannot unpack {archive} into {folder}: {error}") from error


def _refuse_outsiders(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """The standard data filter, which alone would turn ``/etc/x`` into ``etc/x`` without a word."""
    import tarfile

    if member.name.startswith(("/", os.sep)):
        raise tarfile.AbsolutePathError(member)
    return tarfile.data_filter(member, folder)
