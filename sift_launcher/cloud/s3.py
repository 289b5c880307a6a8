"""Objects in S3: listed, fetched and put, so that nothing half done ever has its final name.

`s3` is botocore's client of that service. An object appears whole or not at all: a large file goes
up in parts, which become an object when the last one has arrived; a fetched file gets its name
when its last byte has.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader, BufferedWriter
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from sift_launcher.cloud.explain import explained
from sift_launcher.errors import BucketError, ChannelError, CloudUnreachable, OutputError

Report = Callable[[int], None]
"""Told how many more bytes have gone."""

THREADS = 8
PART_BYTES = 16 * 1024 * 1024
MAX_PARTS = 10_000  # docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
_CHUNK = 1024 * 1024
_ATTEMPTS = 5

T = TypeVar("T")


@dataclass(frozen=True)
class Object:
    """One object of a bucket."""

    key: str
    size: int
    etag: str


def split(uri: str) -> tuple[str, str]:
    """The bucket and the key of `s3://bucket/key`; the key may be empty. Raises BucketError."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise BucketError(f"{uri} is no place in S3: write it as s3://bucket/prefix")
    return bucket, key


def listed(s3: Any, uri: str) -> Iterator[Object]:
    """Every object whose key starts with that of `uri`, in the order of their keys."""
    bucket, prefix = split(uri)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    with _asked("s3:ListBucket", bucket, uri):
        for page in pages:
            for each in page.get("Contents", ()):
                yield Object(each["Key"], each["Size"], each["ETag"])


def get_tree(s3: Any, uri: str, folder: Path, keys: Collection[str] | None = None) -> None:
    """Fetches what lies below `uri` into `folder`, or only those of its objects that `keys` names.

    An object's place is its key without the part that `uri` names, as SageMaker lays out a channel
    of kind S3Prefix. Raises BucketError when there is nothing.
    """
    bucket, prefix = split(uri)
    found = [each for each in listed(s3, uri) if keys is None or each.key in keys]
    if not found and keys is None:
        raise BucketError(f"there is nothing at {uri}: check the name with aws s3 ls {uri}")
    files = [(each, folder / _place(each.key, prefix)) for each in found if each.key[-1] != "/"]
    folder.mkdir(parents=True, exist_ok=True)
    for parent in {path.parent for _, path in files}:
        parent.mkdir(parents=True, exist_ok=True)
    in_threads(lambda file: get_file(s3, f"s3://{bucket}/{file[0].key}", file[1]), files)


def get_file(s3: Any, uri: str, path: Path, pause: Callable[[float], None] = time.sleep) -> None:
    """Fetches the object `uri` to `path`, which is written over in one step.

    A connection that breaks is taken up where it broke. Raises BucketError when the object is not
    there, or changes meanwhile.
    """
    bucket, key = split(uri)
    partial = path.with_name(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        with partial.open("wb") as file:
            _fetch(s3, bucket, key, file, pause)
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): make room there") from error
    finally:
        partial.unlink(missing_ok=True)


def put_file(
    s3: Any,
    path: Path,
    uri: str,
    kms_key: str | None = None,
    *,
    as_of: os.stat_result | None = None,
    resume: bool = False,
    report: Report = lambda _: None,
) -> None:
    """Puts the file at `path` as the object `uri`.

    Raises ChannelError when it changes meanwhile, or has changed since it was `as_of`.
    With `resume`, parts of a large file that an earlier call brought there are not sent again, and
    those of this call stay for the next one when it is interrupted; else they are removed.
    """
    bucket, key = split(uri)
    target = {"Bucket": bucket, "Key": key}
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
    with _asked("s3:PutObject", f"{bucket}/{key}", uri), _opened(path) as file:
        source = _Source(file, path, as_of or os.fstat(file.fileno()))
        if source.size <= PART_BYTES:
            content = source.part(1)
            source.check_unchanged()
            s3.put_object(**target, **encryption, Body=content, ContentMD5=_base64(_md5(content)))
            report(len(content))
        else:
            # What KMS encrypts has other tags, by which no part would be known again.
            _put_in_parts(s3, source, target, encryption, resume and not kms_key, report)


def in_threads(do: Callable[[T], object], items: Iterable[T], threads: int = THREADS) -> None:
    """Calls `do` with each item, several at a time. The first error ends it and is raised."""
    pool = ThreadPoolExecutor(threads)
    try:
        for done in [pool.submit(do, item) for item in items]:
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _asked(action: str, resource: str, uri: str) -> Iterator[None]:
    from botocore.exceptions import ClientError

    with explained(f"{action} on arn:aws:s3:::{resource}", uri):
        try:
            yield
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in ("412", "PreconditionFailed"):
                raise
            raise BucketError(
                f"{uri} was written anew while it was read: run the command again"
            ) from error


def _place(key: str, prefix: str) -> str:
    """A key's path below a channel's folder."""
    rest = key.removeprefix(prefix)
    # A prefix need not end where a name does: `train/part-` begins two objects beside each other.
    is_folder = not prefix or prefix[-1] == "/" or rest[:1] == "/"
    place = rest.lstrip("/") if is_folder else key[prefix.rfind("/") + 1 :]
    if ".." in PurePosixPath(place).parts or not place:
        raise BucketError(f"the key {key!r} names no file below a folder: rename the object")
    return place


def _fetch(
    s3: Any, bucket: str, key: str, file: BufferedWriter, pause: Callable[[float], None]
) -> None:
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    uri = f"s3://{bucket}/{key}"
    etag, size, breaks = "", -1, 0
    while file.tell() != size:
        rest = {"Range": f"bytes={file.tell()}-", "IfMatch": etag} if file.tell() else {}
        with _asked("s3:GetObject", f"{bucket}/{key}", uri):
            got = s3.get_object(Bucket=bucket, Key=key, **rest)
        etag = got["ETag"]
        size = file.tell() + got["ContentLength"]
        try:
            for chunk in got["Body"].iter_chunks(_CHUNK):
                file.write(chunk)
        except (HTTPClientError, IncompleteReadError) as error:
            breaks += 1
            if breaks == _ATTEMPTS:
                raise CloudUnreachable(
                    f"{uri}: the connection broke {breaks} times, the last time after "
                    f"{file.tell()} of {size} bytes ({error}): run the command again"
                ) from error
            pause(0.5 * 2**breaks)


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise ChannelError(f"cannot read {path} ({error.strerror}): make it readable") from error
    with file:
        yield file


@dataclass(frozen=True)
class _Source:
    """A file that is sent, as it was when it was opened."""

    file: BufferedReader
    path: Path
    before: os.stat_result

    @property
    def size(self) -> int:
        return self.before.st_size

    @property
    def part_bytes(self) -> int:
        return max(PART_BYTES, -(-self.size // MAX_PARTS))

    @property
    def numbers(self) -> range:
        return range(1, -(-self.size // self.part_bytes) + 1)

    def part(self, number: int) -> bytes:
        return os.pread(self.file.fileno(), self.part_bytes, (number - 1) * self.part_bytes)

    def check_unchanged(self) -> None:
        now = os.fstat(self.file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self.size, self.before.st_mtime_ns):
            raise ChannelError(
                f"{self.path} changed while it was uploaded: run the command again when it is whole"
            )


@dataclass(frozen=True)
class _Upload:
    """An upload in parts: what S3 has of it already, as MD5 in hexadecimal by number."""

    id: str
    parts: Mapping[int, str]


def _put_in_parts(
    s3: Any,
    source: _Source,
    target: Mapping[str, str],
    encryption: Mapping[str, str],
    resume: bool,
    report: Report,
) -> None:
    upload = _begun(s3, source, target) if resume else None
    if upload is None:
        made = s3.create_multipart_upload(**target, **encryption)
        upload = _Upload(made["UploadId"], {})
    try:
        tags = _send_parts(s3, source, target, upload, report)
        source.check_unchanged()
        parts = [{"PartNumber": number, "ETag": tags[number]} for number in source.numbers]
        s3.complete_multipart_upload(**target, UploadId=upload.id, MultipartUpload={"Parts": parts})
    except s3.exceptions.NoSuchUpload:
        if not upload.parts:
            raise
        # Another command has taken it up too, and was faster.
        _put_in_parts(s3, source, target, encryption, False, report)
    except BaseException as error:
        if not resume or isinstance(error, ChannelError):
            with suppress(Exception):  # what went wrong before counts
                s3.abort_multipart_upload(**target, UploadId=upload.id)
        raise


def _begun(s3: Any, source: _Source, target: Mapping[str, str]) -> _Upload | None:
    """The latest unfinished upload of this very content under this very key."""
    from botocore.exceptions import ClientError

    pages = s3.get_paginator("list_multipart_uploads")
    try:
        found = [
            each
            for page in pages.paginate(Bucket=target["Bucket"], Prefix=target["Key"])
            for each in page.get("Uploads", ())
            if each["Key"] == target["Key"]
        ]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "AccessDenied":
            raise
        return None  # to put objects, nobody needs the right to look for unfinished ones
    for each in sorted(found, key=lambda each: each["Initiated"], reverse=True):
        pages = s3.get_paginator("list_parts").paginate(**target, UploadId=each["UploadId"])
        parts = {
            part["PartNumber"]: part["ETag"].strip('"')
            for page in pages
            for part in page.get("Parts", ())
        }
        # Nothing, where it was begun with a key of KMS, or by another tool in parts of its own.
        if parts and _md5(source.part(min(parts))).hex() == parts[min(parts)]:
            return _Upload(each["UploadId"], parts)
    return None


def _send_parts(
    s3: Any, source: _Source, target: Mapping[str, str], upload: _Upload, report: Report
) -> dict[int, str]:
    """The tag of every part, by its number."""
    tags: dict[int, str] = {}

    def send(number: int) -> None:
        content = source.part(number)
        md5 = _md5(content)
        if upload.parts.get(number) == md5.hex():
            tags[number] = md5.hex()
        else:
            part = {"UploadId": upload.id, "PartNumber": number, "ContentMD5": _base64(md5)}
            tags[number] = s3.upload_part(**target, **part, Body=content)["ETag"]
        report(len(content))

    in_threads(send, source.numbers)
    return tags


def _md5(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()


def _base64(digest: bytes) -> str:
    return b64encode(digest).decode()
