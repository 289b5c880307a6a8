"""Where a request keeps its code, its data, its outputs and its checkpoints. Pure.

A place is an address: `file://` on this machine, `s3://` in S3.
Source of the fields: the API reference of CreateTrainingJob.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath
from typing import Any, TypeVar

from sift_launcher.errors import ValidationError
from sift_launcher.paths import local_path

BASE = PurePosixPath("/opt/ml")
"""Where the service, and a container of ours, puts the tree of a host."""

CHECKPOINTS = BASE / "checkpoints"

P = TypeVar("P", bound=PurePath)

INPUT_MODES = ("File", "FastFile")
_REPLICATED, _SHARDED = "FullyReplicated", "ShardedByS3Key"
_PREFIX, _MANIFEST = "S3Prefix", "ManifestFile"


@dataclass(frozen=True)
class ChannelPlace:
    """A channel of a request."""

    name: str
    uri: str
    input_mode: str
    distribution: str
    is_manifest: bool = False
    """`uri` is an object that lists the data, not the data's own prefix."""

    @property
    def is_sharded(self) -> bool:
        """Each host gets its share."""
        return self.distribution == _SHARDED


def moved(base: P, path: PurePosixPath) -> P:
    """Where `path`, one below /opt/ml, is of a host whose tree lies at `base`."""
    return base / path.relative_to(BASE)


def is_s3(uri: str) -> bool:
    """Whether `uri` is an address in S3."""
    return uri.startswith("s3://")


def is_place(uri: str) -> bool:
    """Whether a job on this machine can read `uri`."""
    return is_s3(uri) or local_path(uri) is not None


def channels_of(request: dict[str, Any]) -> tuple[ChannelPlace, ...]:
    """The channels. Raises ValidationError for one that is not served here."""
    mode = request["AlgorithmSpecification"].get("TrainingInputMode", "File")
    return tuple(_channel(each, mode) for each in request.get("InputDataConfig", []))


def code_uri(request: dict[str, Any]) -> str | None:
    """The address of the archive with the job's code, None when the image or a channel brings it.

    Raises ValidationError for an address of another kind.
    """
    uri = _submitted(request)
    if "://" not in uri:
        return None
    if not is_place(uri):
        raise ValidationError(
            f"sagemaker_submit_directory is at {uri}: a job on this machine reads file:// and "
            "s3:// addresses"
        )
    return uri


def code_path(request: dict[str, Any]) -> PurePosixPath | None:
    """Where a host finds its code when a channel brings it; None when it is anywhere else."""
    path = PurePosixPath(_submitted(request))
    return path if BASE / "input" in path.parents else None


def output_uri(request: dict[str, Any]) -> str:
    """The address below which model.tar.gz and output.tar.gz are put."""
    root = request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    return f"{root}/{request['TrainingJobName']}/output"


def checkpoints_uri(request: dict[str, Any]) -> str | None:
    """Where checkpoints are kept; None when they are not."""
    uri: str | None = request.get("CheckpointConfig", {}).get("S3Uri")
    return uri


def checkpoints_path(request: dict[str, Any]) -> PurePosixPath:
    """Where a host in the service keeps its checkpoints."""
    return PurePosixPath(request.get("CheckpointConfig", {}).get("LocalPath", CHECKPOINTS))


def needs_s3(request: dict[str, Any]) -> bool:
    """Whether anything of the job lies in S3, or will."""
    places = [code_uri(request), output_uri(request), checkpoints_uri(request)]
    places += [channel.uri for channel in channels_of(request)]
    return any(is_s3(uri) for uri in places if uri)


def _submitted(request: dict[str, Any]) -> str:
    text = request.get("HyperParameters", {}).get("sagemaker_submit_directory", "null")
    try:
        return str(json.loads(text) or "")
    except ValueError:  # the newer dialect sends strings without quotes
        return str(text)


def _channel(channel: dict[str, Any], default_mode: str) -> ChannelPlace:
    name = channel["ChannelName"]
    source = channel.get("DataSource", {})
    file, s3 = source.get("FileDataSource", {}), source.get("S3DataSource", {})
    uri = file.get("FileUri") or s3.get("S3Uri", "")
    mode = channel.get("InputMode", default_mode)
    kind = s3.get("S3DataType", _PREFIX)
    distribution = (
        file.get("FileDataDistributionType") or s3.get("S3DataDistributionType") or _REPLICATED
    )
    if not is_place(uri):
        raise ValidationError(
            f"channel {name} is at {uri or 'no address'}: a job on this machine reads file:// and "
            "s3:// addresses"
        )
    _check(name, "InputMode", mode, INPUT_MODES)
    _check(name, "S3DataType", kind, (_PREFIX, _MANIFEST))
    _check(name, "S3DataDistributionType", distribution, (_REPLICATED, _SHARDED))
    return ChannelPlace(name, uri, mode, distribution, kind == _MANIFEST)


def _check(channel: str, field: str, value: str, served: tuple[str, ...]) -> None:
    if value not in served:
        raise ValidationError(
            f"channel {channel}: {field} {value} is not served on this machine, "
            f"{' and '.join(served)} are"
        )
