"""What a cloud job left in S3, brought to this machine: whole files, and each of them once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from glob import escape
from io import BufferedRandom
from pathlib import Path, PurePosixPath
from typing import Any

from sift_launcher.cloud import s3 as objects
from sift_launcher.cloud.explain import explained
from sift_launcher.cloud.passing import Passing, told_apart
from sift_launcher.errors import BucketError, CloudUnreachable, OutputError, ResourceNotFound

_CHUNK_BYTES = 1 << 20
_ATTEMPTS = 6
_FIRST_WAIT_SECONDS = 0.5
_WRITTEN_ANEW = frozenset({"PreconditionFailed", "412"})


def download(
    s3: Any,
    description: Mapping[str, Any],
    folder: Path,
    sleep: Callable[[float], object] = time.sleep,
) -> list[Path]:
    """Brings a job's outputs to `folder`/output and its checkpoints to `folder`/checkpoints.

    A file that is there already in its present state is not fetched again, and half of one is
    completed. Raises ResourceNotFound when there is nothing (yet).
    """
    from sift_launcher.cloud.job import results_uri

    places = {"output": results_uri(description)}
    if checkpoints := description.get("CheckpointConfig", {}).get("S3Uri"):
        places["checkpoints"] = checkpoints
    files = [file for name, uri in places.items() for file in _files_at(s3, uri, folder / name)]
    if not files:
        raise ResourceNotFound(
            f"job {description['TrainingJobName']} has left nothing (yet) at "
            f"{' or '.join(places.values())}"
        )
    objects.in_threads(partial(_bring, s3, sleep), files)
    return [file.path for file in files]


@dataclass(frozen=True)
class _File:
    """An object, and where it belongs."""

    bucket: str
    key: str
    size: int
    etag: str
    modified: float
    path: Path

    @property
    def partial(self) -> Path:
        """Where it grows; one of another state of the object has another name."""
        state = self.etag.strip('"')
        return self.path.with_name(f".{self.path.name}.{state}.part")

    def is_there(self) -> bool:
        """Whether an earlier call has brought it: size and time are the object's."""
        try:
            there = self.path.stat()
        except OSError:
            return False
        return there.st_size == self.size and int(there.st_mtime) == int(self.modified)


def _files_at(s3: Any, uri: str, folder: Path) -> Iterator[_File]:
    bucket, prefix = objects.split(uri.rstrip("/") + "/")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    with explained(f"s3:ListBucket on arn:aws:s3:::{bucket}", uri):
        for page in pages:
            for each in page.get("Contents", ()):
                if each["Key"].endswith("/"):
                    continue  # what consoles make in place of a folder
                path = PurePosixPath(each["Key"].removeprefix(prefix))
                if path.is_absolute() or ".." in path.parts:
                    raise BucketError(
                        f"the key {each['Key']!r} names no file below a folder: rename the object"
                    )
                yield _File(
                    bucket,
                    each["Key"],
                    each["Size"],
                    each["ETag"],
                    each["LastModified"].timestamp(),
                    folder / path,
                )


def _bring(s3: Any, sleep: Callable[[float], object], file: _File) -> None:
    if file.is_there():
        return
    try:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        with file.partial.open("a+b") as growing:
            _grow(s3, file, growing, sleep)
        os.utime(file.partial, (file.modified, file.modified))
        file.partial.replace(file.path)
        for of_another_state in file.path.parent.glob(f".{escape(file.path.name)}.*.part"):
            of_another_state.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write {file.path} ({error.strerror}): make room there, or name another folder "
            "with --to"
        ) from error


def _grow(s3: Any, file: _File, growing: BufferedRandom, sleep: Callable[[float], object]) -> None:
    """Adds what is missing, over a connection that may break a few times."""
    uri = f"s3://{file.bucket}/{file.key}"
    permission = f"s3:GetObject on arn:aws:s3:::{file.bucket}/{file.key}"
    for attempt in range(_ATTEMPTS):
        try:
            with explained(permission, uri), told_apart():
                return _fetch(s3, file, growing)
        except Passing as error:
            if attempt + 1 == _ATTEMPTS:
                raise CloudUnreachable(
                    f"{uri}: the connection broke again and again ({error}); run the command once "
                    "more: it goes on where it stopped"
                ) from error
            sleep(_FIRST_WAIT_SECONDS * 2**attempt)
    return None


def _fetch(s3: Any, file: _File, growing: BufferedRandom) -> None:
    from botocore.exceptions import ClientError

    there = growing.seek(0, os.SEEK_END)
    if there >= file.size:
        return
    rest = {"Range": f"bytes={there}-"} if there else {}
    try:
        got = s3.get_object(Bucket=file.bucket, Key=file.key, IfMatch=file.etag, **rest)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _WRITTEN_ANEW:
            raise
        raise BucketError(
            f"s3://{file.bucket}/{file.key} was written anew while it was read: run the command "
            "again"
        ) from error
    for chunk in got["Body"].iter_chunks(_CHUNK_BYTES):
        growing.write(chunk)
