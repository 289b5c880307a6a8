"""The /opt/ml tree of one host, laid out from the request as the service lays it out."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sift_launcher.errors import SiftLaunchError, ValidationError
from sift_launcher.local.records import write_json
from sift_launcher.paths import local_path

NETWORK_INTERFACE = "lo"


@dataclass(frozen=True)
class HostTree:
    """The folders of one host; in the cloud `base` is /opt/ml."""

    base: Path

    @property
    def code(self) -> Path:
        """Where the script lies, and its working folder."""
        return self.base / "code"

    @property
    def model(self) -> Path:
        """What the script leaves here becomes model.tar.gz."""
        return self.base / "model"

    @property
    def output(self) -> Path:
        """Holds data/ (becomes output.tar.gz) and the files failure and success."""
        return self.base / "output"

    @property
    def output_data(self) -> Path:
        """What the script leaves here becomes output.tar.gz."""
        return self.output / "data"


def hosts_of(request: dict[str, Any]) -> tuple[str, ...]:
    """The names of the hosts, as SageMaker gives them: algo-1, algo-2, ..."""
    return tuple(f"algo-{i + 1}" for i in range(request["ResourceConfig"]["InstanceCount"]))


def lay_out(base: Path, host: str, request: dict[str, Any]) -> HostTree:
    """Makes the tree of `host` below `base`: configuration, channels, code, empty outputs.

    A channel is a link to the user's own folder: nothing is copied. Checkpoints go straight to
    where the request wants them.
    """
    tree = HostTree(base)
    config = base / "input" / "config"
    for folder in (config, base / "input" / "data", tree.model, tree.output_data, tree.code):
        folder.mkdir(parents=True)
    for channel in request.get("InputDataConfig", []):
        _link_channel(base / "input" / "data", channel)
    _link_checkpoints(base, request)
    _unpack_code(tree.code, request)
    write_json(config / "hyperparameters.json", _hyperparameters(tree, request))
    write_json(config / "resourceconfig.json", _resources(host, request))
    write_json(config / "inputdataconfig.json", _channels(request))
    write_json(config / "init-config.json", {"inputMode": "FILE", "channels": _channels(request)})
    if "CheckpointConfig" in request:
        write_json(config / "checkpointconfig.json", request["CheckpointConfig"])
    return tree


def channel_path(channel: dict[str, Any]) -> Path:
    """The folder or file on this machine that `channel` names. Raises ValidationError."""
    source = channel.get("DataSource", {})
    uri = source.get("FileDataSource", {}).get("FileUri") or source.get("S3DataSource", {}).get(
        "S3Uri", ""
    )
    path = local_path(uri)
    if path is None:
        raise ValidationError(
            f"channel {channel.get('ChannelName')} is at {uri or 'no address'}: a job on this "
            "machine reads file:// addresses"
        )
    return path


def _link_channel(data: Path, channel: dict[str, Any]) -> None:
    path = channel_path(channel)
    if path.is_dir():
        (data / channel["ChannelName"]).symlink_to(path)
        return
    # A channel is always a folder; a single file lies in it under its own name.
    (data / channel["ChannelName"]).mkdir()
    (data / channel["ChannelName"] / path.name).symlink_to(path)


def _link_checkpoints(base: Path, request: dict[str, Any]) -> None:
    here = base / "checkpoints"
    kept = local_path(request.get("CheckpointConfig", {}).get("S3Uri", ""))
    if kept is None:
        here.mkdir()
        return
    kept.mkdir(parents=True, exist_ok=True)
    here.symlink_to(kept)


def _unpack_code(code: Path, request: dict[str, Any]) -> None:
    uri = json.loads(request["HyperParameters"].get("sagemaker_submit_directory", "null"))
    archive_path = local_path(uri or "")
    if archive_path is None:
        return
    with tarfile.open(archive_path) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
                raise SiftLaunchError(
                    f"{archive_path} holds {member.name!r}, which is no plain file below the "
                    "source folder: pack it without links and '..'"
                )
            if member.isdir():
                (code / path).mkdir(parents=True, exist_ok=True)
                continue
            # By hand, for extraction filters are not in every Python 3.10.
            (code / path).parent.mkdir(parents=True, exist_ok=True)
            with archive.extractfile(member) or io.BytesIO() as source:
                (code / path).write_bytes(source.read())
            (code / path).chmod(member.mode & 0o777)


def _hyperparameters(tree: HostTree, request: dict[str, Any]) -> dict[str, str]:
    here = {"sagemaker_submit_directory": json.dumps(str(tree.code))}
    return dict(request["HyperParameters"]) | here


def _resources(host: str, request: dict[str, Any]) -> dict[str, Any]:
    hosts = list(hosts_of(request))
    instance = request["ResourceConfig"]["InstanceType"]
    group = "homogeneousCluster"
    return {
        "current_host": host,
        "current_instance_type": instance,
        "current_group_name": group,
        "hosts": hosts,
        "instance_groups": [
            {"instance_group_name": group, "instance_type": instance, "hosts": hosts}
        ],
        "network_interface_name": NETWORK_INTERFACE,
    }


def _channels(request: dict[str, Any]) -> dict[str, dict[str, str]]:
    mode = request["AlgorithmSpecification"].get("TrainingInputMode", "File")
    settings = {
        "TrainingInputMode": mode,
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    return {channel["ChannelName"]: settings for channel in request.get("InputDataConfig", [])}
