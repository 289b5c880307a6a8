"""The data of `fit`: places of this machine, wherever the job runs. Without the SDK."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sift_launcher.errors import ChannelError
from sift_launcher.paths import absolute, file_uri, local_path

DEFAULT_CHANNEL = "training"  # the SDK's


def with_places(inputs: Any, placed: Callable[[str, Path], str]) -> Any:
    """`inputs` of `fit`, with `placed(channel, path)` for every folder or file of this machine that
    is named by a path or a `file://` address. All else is the SDK's.

    Raises ChannelError for one that does not exist.
    """
    if isinstance(inputs, Mapping):
        return {channel: _placed(channel, value, placed) for channel, value in inputs.items()}
    if isinstance(inputs, str | Path) and _here(inputs) is not None:
        return {DEFAULT_CHANNEL: _placed(DEFAULT_CHANNEL, inputs, placed)}
    return inputs


def at_home(channel: str, path: Path) -> str:
    """Where a job on this machine finds `path`."""
    return file_uri(path)


def uploading(session: Any) -> Callable[[str, Path], str]:
    """Where a job in SageMaker finds what it is given: it is uploaded once, by its content."""

    def uploaded(channel: str, path: Path) -> str:
        from sift_launcher.cloud.explain import explained
        from sift_launcher.cloud.upload import plan_uploads, upload
        from sift_launcher.job_spec import Channel, JobSpec

        bucket = session.default_bucket()
        spec = JobSpec(script="", channels={channel: Channel(str(path))})
        (planned,) = plan_uploads(spec, bucket)
        s3 = session.s3_client or session.boto_session.client("s3")
        with explained(f"s3:PutObject on arn:aws:s3:::{bucket}/*", f"uploading channel {channel}"):
            upload(planned, s3, lambda there, whole: None)
        return planned.uri

    return uploaded


def _placed(channel: str, value: Any, placed: Callable[[str, Path], str]) -> Any:
    path = _here(value)
    if path is None:
        return value
    if not path.exists():
        raise ChannelError(f"channel {channel}: {path} does not exist (read from {Path.cwd()})")
    return placed(channel, path)


def _here(value: Any) -> Path | None:
    if isinstance(value, Path):
        return absolute(value)
    if not isinstance(value, str):
        return None
    return local_path(value) if "://" in value else absolute(value)
