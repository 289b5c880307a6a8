"""The data of `fit`: places of this machine, wherever the job runs. Without the SDK."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from sift_launcher.errors import ChannelError
from sift_launcher.paths import absolute, file_uri, local_path

DEFAULT_CHANNEL = "training"  # the SDK's

Placed: TypeAlias = "Callable[[str, Path, str], dict[str, Any]]"
"""Of a channel, its data and the way that is spread over the hosts, a request's `DataSource`."""


def with_places(inputs: Any, placed: Placed, channel_of: Callable[[str], Any]) -> Any:
    """`inputs` of `fit`, with what `placed` makes of every folder or file of this machine that is
    named by a path or a `file://` address. All else is the SDK's.

    `channel_of` makes the SDK's `TrainingInput` of an address. Raises ChannelError for a place that
    does not exist.
    """

    def with_place(channel: str, value: Any) -> Any:
        if isinstance(value, str | Path):
            return value if _here(value) is None else with_place(channel, channel_of(str(value)))
        source = _s3_source(value)
        path = _here(source.get("S3Uri"))
        if path is None:
            return value
        if not path.exists():
            raise ChannelError(f"channel {channel}: {path} does not exist (read from {Path.cwd()})")
        value = copy.deepcopy(value)
        value.config["DataSource"] = placed(channel, path, source["S3DataDistributionType"])
        return value

    if isinstance(inputs, Mapping):
        return {channel: with_place(channel, value) for channel, value in inputs.items()}
    given = with_place(DEFAULT_CHANNEL, inputs)
    return inputs if given is inputs else {DEFAULT_CHANNEL: given}


def at_home(channel: str, path: Path, distribution: str) -> dict[str, Any]:
    """Where a job on this machine finds `path`."""
    source = {"FileDataDistributionType": distribution, "FileUri": file_uri(path)}
    return {"FileDataSource": source}


def uploading(session: Any, kms_key: str | None) -> Placed:
    """Where a job in SageMaker finds what it is given: it is uploaded once, by its content."""

    def uploaded(channel: str, path: Path, distribution: str) -> dict[str, Any]:
        from sift_launcher.cloud.explain import explained
        from sift_launcher.cloud.upload import plan_uploads, upload
        from sift_launcher.job_spec import Channel, JobSpec

        bucket = session.default_bucket()
        spec = JobSpec(script="", channels={channel: Channel(str(path))})
        (planned,) = plan_uploads(spec, bucket)
        s3 = session.s3_client or session.boto_session.client("s3")
        with explained(f"s3:PutObject on arn:aws:s3:::{bucket}/*", f"uploading channel {channel}"):
            upload(planned, s3, lambda there, whole: None, kms_key)
        source = {"S3DataType": "S3Prefix", "S3Uri": planned.uri}
        return {"S3DataSource": source | {"S3DataDistributionType": distribution}}

    return uploaded


def _s3_source(value: Any) -> Mapping[str, Any]:
    config = getattr(value, "config", None) or {}
    source: Mapping[str, Any] = config.get("DataSource", {}).get("S3DataSource", {})
    return source


def _here(value: Any) -> Path | None:
    if isinstance(value, Path):
        return absolute(value)
    if not isinstance(value, str) or not value:
        return None
    return local_path(value) if "://" in value else absolute(value)
