"""The /opt/ml tree of one host, laid out from the request as the service lays it out."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from sift_launcher.errors import SiftLaunchError
from sift_launcher.local.inputs import Inputs
from sift_launcher.local.places import (
    BASE,
    CHECKPOINTS,
    channels_of,
    checkpoints_path,
    checkpoints_uri,
    code_path,
    moved,
)
from sift_launcher.local.records import write_json
from sift_launcher.paths import local_path


@dataclass(frozen=True)
class Mount:
    """A file or folder that a host has in its tree though it lies elsewhere: nothing is copied."""

    source: Path
    target: PurePosixPath
    """Where a host in the service finds it."""

    read_only: bool


@dataclass(frozen=True)
class HostTree:
    """The folders of one host; in the cloud `base` is /opt/ml."""

    base: Path
    mounts: tuple[Mount, ...] = ()
    """What is to be put into the tree by whatever runs the host."""

    @property
    def input(self) -> Path:
        """Holds config/ and data/, which has the channels."""
        return self.base / "input"

    @property
    def code(self) -> Path:
        """Where the script lies, and its working folder; not there when the image brings it."""
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

    @property
    def checkpoints(self) -> Path:
        """Where the script keeps its checkpoints; not there when they are one of the mounts."""
        return self.base / "checkpoints"

    def place_of(self, mount: Mount) -> Path:
        """Where `mount` belongs in this tree; its folder is made if needed."""
        place = moved(self.base, mount.target)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


def hosts_of(request: dict[str, Any]) -> tuple[str, ...]:
    """The names of the hosts, as SageMaker gives them: algo-1, algo-2, ..."""
    return tuple(f"algo-{i + 1}" for i in range(request["ResourceConfig"]["InstanceCount"]))


def lay_out(
    folder: Path,
    host: str,
    request: dict[str, Any],
    base: PurePath,
    network_interface: str,
    inputs: Inputs,
) -> HostTree:
    """Makes the tree of `host` in `folder`: configuration, code, empty outputs.

    `base` is where the host will see it. Channels and checkpoints are the tree's mounts, which
    whatever runs the host puts in their places. Raises SiftLaunchError for code that would land
    elsewhere.
    """
    tree = HostTree(folder, _mounts_of(request, inputs.channels.get(host, {}), folder))
    config = tree.input / "config"
    for each in (config, tree.input / "data", tree.model, tree.output_data):
        each.mkdir(parents=True)
    hyperparameters = dict(request.get("HyperParameters", {}))
    if inputs.code is not None:
        _unpack(inputs.code, tree.code)
        hyperparameters["sagemaker_submit_directory"] = json.dumps(str(base / "code"))
    elif (path := code_path(request)) is not None and base != BASE:
        hyperparameters["sagemaker_submit_directory"] = json.dumps(str(moved(base, path)))
    if "code" in inputs.channels.get(host, {}):
        # It is unpacked here, by whatever the image starts.
        tree.code.mkdir(exist_ok=True)
    for mount in tree.mounts:
        if not mount.read_only:
            mount.source.mkdir(parents=True, exist_ok=True)
    if all(mount.target != CHECKPOINTS for mount in tree.mounts):
        tree.checkpoints.mkdir()
    channels = _channels(request)
    write_json(config / "hyperparameters.json", hyperparameters)
    write_json(config / "resourceconfig.json", _resources(host, request, network_interface))
    write_json(config / "inputdataconfig.json", channels)
    mode = request["AlgorithmSpecification"].get("TrainingInputMode", "File")
    write_json(config / "init-config.json", {"inputMode": mode.upper(), "channels": channels})
    if "CheckpointConfig" in request:
        write_json(config / "checkpointconfig.json", request["CheckpointConfig"])
    return tree


def checkpoints_of(tree: HostTree, request: dict[str, Any]) -> Path:
    """Where on this machine a host's checkpoints lie."""
    target = checkpoints_path(request)
    return next((each.source for each in tree.mounts if each.target == target), tree.checkpoints)


def _mounts_of(
    request: dict[str, Any], channels: Mapping[str, Path], folder: Path
) -> tuple[Mount, ...]:
    """What the hosts see that lies elsewhere: channels, and where checkpoints are kept."""
    data = BASE / "input" / "data"
    mounts = []
    for name, source in channels.items():
        target = data / name
        # A channel is always a folder; a single file lies in it under its own name.
        mounts.append(Mount(source, target if source.is_dir() else target / source.name, True))
    target = checkpoints_path(request)
    if kept := local_path(checkpoints_uri(request) or ""):
        mounts.append(Mount(kept, target, read_only=False))
    elif target != CHECKPOINTS:
        mounts.append(Mount(folder / "kept", target, read_only=False))
    return tuple(mounts)


def _unpack(archive_path: Path, code: Path) -> None:
    code.mkdir()
    try:
        with tarfile.open(archive_path) as archive:
            for member in archive:
                _extract(archive, member, code, archive_path)
    except (tarfile.TarError, EOFError) as error:
        raise SiftLaunchError(
            f"{archive_path} is not a whole tar archive ({error}): pack the code with tar -czf"
        ) from error


def _extract(
    archive: tarfile.TarFile, member: tarfile.TarInfo, code: Path, archive_path: Path
) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
        raise SiftLaunchError(
            f"{archive_path} holds {member.name!r}, which is no plain file below the source "
            "folder: pack it without links and '..'"
        )
    if member.isdir():
        (code / path).mkdir(parents=True, exist_ok=True)
        return
    # By hand, for extraction filters are not in every Python 3.10.
    (code / path).parent.mkdir(parents=True, exist_ok=True)
    with archive.extractfile(member) or io.BytesIO() as source:
        (code / path).write_bytes(source.read())
    (code / path).chmod(member.mode & 0o777)


def _resources(host: str, request: dict[str, Any], network_interface: str) -> dict[str, Any]:
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
        "network_interface_name": network_interface,
    }


def _channels(request: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {
        channel.name: {
            "TrainingInputMode": channel.input_mode,
            "S3DistributionType": channel.distribution,
            "RecordWrapperType": "None",
        }
        for channel in channels_of(request)
    }
