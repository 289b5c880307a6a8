"""Hosts as containers of a Docker engine: one each, on a network of the job's own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from sift_launcher.engine import connect_here, engine_address, reached
from sift_launcher.errors import EngineUnavailable, ImageUnfit
from sift_launcher.local import players
from sift_launcher.local.container_host import ContainerHost
from sift_launcher.local.host_runner import RunningHost
from sift_launcher.local.leftovers import kill_processes, labels, remove_all
from sift_launcher.local.machine import MachineShare
from sift_launcher.local.places import BASE
from sift_launcher.local.records import JobRecord
from sift_launcher.local.tree import HostTree

if TYPE_CHECKING:
    from docker import APIClient

# Beside the engine's resolver, which forgets a container that has ended: a host that came up late
# would wait for the name of one that is done.
_NAMES = "names"

# How long the engine has for an answer: a busy machine may take long to start a container, and
# nobody shall wait long for one that hangs when the job is over.
_START_SECONDS = 180
_ANSWER_SECONDS = 60

# Of a host that had ended before it could be asked: its name resolves, and nobody answers there.
_GONE = "127.0.0.2"


class ContainerRunner:
    """Runs the image of a request on the trees of its hosts."""

    def __init__(
        self, record: JobRecord, environment: Mapping[str, str], wake: Callable[[], None]
    ) -> None:
        """`environment` is the containers' beyond the image's; `wake` is called, by any thread,
        when a container has ended."""
        settings = record.settings()
        self._record = record
        self._request = record.request()
        self._image = players.image_of(self._request, players.of_settings(settings))
        self._has_gpus = bool(settings["Gpus"])
        self._share = MachineShare.from_dict(settings["Share"])
        self._user = str(settings["User"])
        self._groups = list(settings["Groups"])
        self._environment = dict(environment)
        self._wake = wake
        self._suffix = secrets.token_hex(3)  # two state folders may have a job of one name
        self._is_isolated = bool(self._request.get("EnableNetworkIsolation", False))
        # Hosts that are isolated reach each other all the same.
        self._network: str | None = "none" if self._is_isolated else None
        self._api: APIClient | None = None
        self._containers: dict[str, str] = {}

    @property
    def network_interface(self) -> str:
        """See HostRunner."""
        return "eth0"

    def base(self, folder: Path) -> PurePath:
        """See HostRunner."""
        return BASE

    def start(self, trees: Mapping[str, HostTree], logs: Path) -> dict[str, RunningHost]:
        """See HostRunner."""
        self._api = api = connect_here(_START_SECONDS).api
        names = self._record.hosts / _NAMES if len(trees) > 1 else None
        if names is not None:
            names.write_text("127.0.0.1 localhost\n")
            with reached(engine_address()):
                self._network = self._create_network(api)

        def start(host: str) -> RunningHost:
            return self._start(api, host, trees[host], names, logs / f"{host}.log")

        with ThreadPoolExecutor(len(trees)) as pool:
            running = dict(zip(trees, pool.map(start, trees), strict=True))
        if names is not None:
            with reached(engine_address()), names.open("a") as file:
                file.write(_addresses(api, self._containers))
        api.timeout = _ANSWER_SECONDS
        return running

    def close(self) -> None:
        """See HostRunner."""
        if self._api is None:
            return
        try:
            remove_all(self._api, self._record)
        except EngineUnavailable:
            # What is left of the job is removed by the next job that finds the engine.
            kill_processes(self._containers.values())

    def _start(
        self, api: APIClient, host: str, tree: HostTree, names: Path | None, log: Path
    ) -> ContainerHost:
        from docker.errors import APIError

        with reached(engine_address()):
            identity = self._create(api, host, tree, names)
            self._containers[host] = identity
            memory, failure = self._share.memory_bytes, tree.output / "failure"
            running = ContainerHost(api, identity, log, memory, failure, self._wake)
            try:
                api.start(identity)
            except APIError as error:
                raise _unfit(self._image, error) or error from error
            running.attend()
        return running

    def _create_network(self, api: APIClient) -> str:
        name = f"{self._record.name}-{self._suffix}"
        api.create_network(name, labels=labels(self._record), internal=self._is_isolated)
        return name

    def _create(self, api: APIClient, host: str, tree: HostTree, names: Path | None) -> str:
        from docker.types import LogConfig

        specification = self._request["AlgorithmSpecification"]
        entrypoint = specification.get("ContainerEntrypoint")
        created = api.create_container(
            self._image,
            name=f"{self._record.name}-{host}-{self._suffix}",
            hostname=host,
            entrypoint=entrypoint,
            command=specification.get("ContainerArguments") or ([] if entrypoint else ["train"]),
            user=self._user,
            environment=self._environment,
            labels=labels(self._record),
            platform=self._share.platform,
            host_config=api.create_host_config(
                mounts=_mounts(tree, names),
                group_add=self._groups,
                network_mode=self._network,
                # The engine's own copy of the log would cost three quarters of the speed.
                log_config=LogConfig(type="none"),
                shm_size=self._share.shm_bytes,
                mem_limit=self._share.memory_bytes,
                memswap_limit=self._share.memory_bytes,
                nano_cpus=int(self._share.cpus * 1e9) if self._share.cpus else None,
                device_requests=_all_gpus() if self._has_gpus else None,
            ),
        )
        return str(created["Id"])


def _mounts(tree: HostTree, names: Path | None) -> list[Any]:
    from docker.types import Mount

    mounts = [
        Mount(str(BASE / folder.name), str(folder), type="bind", read_only=folder == tree.input)
        for folder in (tree.input, tree.code, tree.model, tree.output, tree.checkpoints)
        if folder.exists()
    ]
    for mount in tree.mounts:
        if mount.read_only:
            # It lies in input/, where nobody can make a place for it any more.
            place = tree.place_of(mount)
            place.mkdir() if mount.source.is_dir() else place.touch()
        mounts.append(
            Mount(str(mount.target), str(mount.source), type="bind", read_only=mount.read_only)
        )
    if names is not None:
        mounts.append(Mount("/etc/hosts", str(names), type="bind", read_only=True))
    return mounts


def _all_gpus() -> list[Any]:
    from docker.types import DeviceRequest

    return [DeviceRequest(count=-1, capabilities=[["gpu"]])]


def _addresses(api: APIClient, containers: Mapping[str, str]) -> str:
    """Lines of a hosts file, one for every host."""
    lines = []
    for host, identity in containers.items():
        networks = api.inspect_container(identity)["NetworkSettings"]["Networks"]
        address = next((each["IPAddress"] for each in networks.values()), "")
        lines.append(f"{address or _GONE} {host}\n")
    return "".join(lines)


def _unfit(image: str, error: Exception) -> ImageUnfit | None:
    """What the engine says when the image lacks the program that it is to run."""
    text = str(error)
    if "executable file not found" not in text and "no such file or directory" not in text:
        return None
    program = text.partition('exec: "')[2].partition('"')[0]
    return ImageUnfit(
        f"image {image} has no {program or 'such program'} to run: give another --image, or build "
        "one on it with sift-launch build --base"
    )
