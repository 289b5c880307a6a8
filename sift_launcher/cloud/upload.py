"""The data of a job's channels, brought to S3 once: its place there is made of its content."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from sift_launcher.bundle import CodeFile
from sift_launcher.cloud import s3 as objects
from sift_launcher.cloud.content import content_digest, data_files
from sift_launcher.cloud.facts import Upload
from sift_launcher.errors import ChannelError
from sift_launcher.job_spec import JobSpec
from sift_launcher.paths import absolute

FOLDER = "sift-data"

Report = Callable[[int, int], None]
"""Told how many bytes of how many are there."""


def plan_uploads(spec: JobSpec, bucket: str) -> tuple[Upload, ...]:
    """What of the channels of `spec` lies on this machine, and where it belongs in `bucket`.

    Reads every file that it has not read before. Raises ChannelError.
    """
    return tuple(
        _plan_upload(name, absolute(channel.place), bucket)
        for name, channel in spec.channels.items()
        if not channel.is_in_s3
    )


def upload(upload: Upload, s3: Any, report: Report, kms_key: str | None = None) -> None:
    """Brings to S3 what is not there yet; an upload that was interrupted is taken up again.

    Raises ChannelError when the data is no longer what was planned.
    """
    stats = _check_still(upload)
    there = {each.key: each.size for each in objects.listed(s3, upload.uri)}
    bucket, prefix = objects.split(upload.uri)
    missing = [file for file in upload.files if there.get(prefix + file.path) != file.size]
    progress = _Progress(upload.size - sum(file.size for file in missing), upload.size, report)

    def put(file: CodeFile, resume: bool = False) -> None:
        objects.put_file(
            s3,
            Path(file.source or ""),
            f"s3://{bucket}/{prefix}{file.path}",
            kms_key,
            as_of=stats[file.path],
            resume=resume,
            report=progress.add,
        )

    objects.in_threads(put, [file for file in missing if file.size <= objects.PART_BYTES])
    for file in missing:  # one after the other: each is sent in several threads
        if file.size > objects.PART_BYTES:
            put(file, resume=True)


def _plan_upload(channel: str, source: Path, bucket: str) -> Upload:
    if not source.exists():
        raise ChannelError(f"channel {channel}: {source} does not exist: name a folder or a file")
    files = data_files(channel, source)
    uri = f"s3://{bucket}/{FOLDER}/{content_digest(source, files)}/"
    listed = tuple(CodeFile(file.path, file.size, file.source) for file in files)
    return Upload(channel, str(source), uri, listed)


def _check_still(upload: Upload) -> dict[str, os.stat_result]:
    """The files as they are now. Under the name of its content, nothing else may ever lie."""
    source = Path(upload.source)
    files = data_files(upload.channel, source)
    if not upload.uri.endswith(f"/{content_digest(source, files)}/"):
        raise ChannelError(
            f"channel {upload.channel}: {upload.source} changed since the job was planned: run the "
            "command again when it is whole"
        )
    return {file.path: file.stat for file in files}


@dataclass
class _Progress:
    there: int
    whole: int
    report: Report

    def __post_init__(self) -> None:
        self._lock = Lock()
        self.report(self.there, self.whole)

    def add(self, more: int) -> None:
        with self._lock:
            self.there = min(self.there + more, self.whole)
            self.report(self.there, self.whole)
