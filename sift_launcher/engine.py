"""The Docker engine that images are built with and containers run on.

Which one: what $DOCKER_HOST says, else what the current `docker context` says ($DOCKER_CONTEXT, or
`docker context use`), else /var/run/docker.sock. An engine that speaks Docker's language, such as
podman's socket, is reached in the same way.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sift_launcher.errors import DeviceUnavailable, EngineUnavailable

if TYPE_CHECKING:
    from docker import DockerClient

LABEL = "sift-launcher"
"""Every container and network that we make carries this label; what it says is the job's name."""

_PATIENCE_SECONDS = 30
_DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
_OLDEST_API = (1, 41)  # Docker 20.10, Podman 4: older ones are not tested
_NVIDIA_HOOK = "nvidia-container-runtime-hook"


@dataclass(frozen=True)
class EngineTraits:
    """What an engine is, as far as a job or a build depends on it."""

    product: str
    """`docker` or `podman`."""

    version: str
    architecture: str
    """In Docker's words: `amd64`, `arm64`."""

    is_rootless: bool
    """It runs as the user: the root of its containers is the user, and nobody else exists."""

    is_remote: bool
    """It is not reached through a socket of this machine, and cannot mount this machine's files."""

    has_nvidia: bool
    """It can hand NVIDIA GPUs to a container."""

    memory_bytes: int
    cpus: int
    data_root: str
    """The folder in which it keeps images."""

    has_limits: bool = True
    """It holds containers to a share of memory and processors; a rootless one may not."""


def engine_address() -> str:
    """Where the engine is: `unix:///var/run/docker.sock` and the like.

    Raises EngineUnavailable when DOCKER_HOST is none, or the `docker context` cannot be read.
    """
    if host := os.environ.get("DOCKER_HOST"):
        if "://" not in host:
            raise EngineUnavailable(
                f"DOCKER_HOST={host} is no engine's address: write {_DEFAULT_ADDRESS}, or unset it"
            )
        return host
    from docker.context import ContextAPI

    name = os.environ.get("DOCKER_CONTEXT")
    try:
        context = ContextAPI.get_context(name or None)
    except Exception as error:  # what the package itself raises for a broken file
        raise EngineUnavailable(f"{error}: choose another with docker context use") from error
    if context is None:
        raise EngineUnavailable(
            f"there is no docker context {name or 'of the name in ~/.docker/config.json'}: "
            "docker context ls lists them, docker context use default takes the local engine"
        )
    return str(context.Host or _DEFAULT_ADDRESS)


def is_here(address: str) -> bool:
    """Whether the engine at `address` is reached through a socket of this machine."""
    return address.startswith(("unix://", "npipe://"))


def connect(timeout: float = _PATIENCE_SECONDS) -> DockerClient:
    """A client of the engine at `engine_address()`, once it has answered.

    `timeout`: how long each of its answers may take, in seconds. Raises EngineUnavailable with
    the command that mends it.
    """
    # A tenth of a second of imports, which a job that needs no engine does not pay.
    import docker

    address = engine_address()
    with reached(address):
        client = docker.from_env(timeout=int(timeout))
    _check_api(address, client.api.api_version)
    return client


def connect_here(timeout: float = _PATIENCE_SECONDS) -> DockerClient:
    """As `connect`, but raises EngineUnavailable for an engine on another machine.

    A job's code, data and outputs are folders of this machine: no other can mount them.
    """
    address = engine_address()
    if not is_here(address):
        raise EngineUnavailable(
            f"the Docker engine at {address} is on another machine and cannot mount the job's "
            "files: unset DOCKER_HOST (or docker context use default) for the engine of this one, "
            "or launch the job over there"
        )
    return connect(timeout)


def traits(client: DockerClient) -> EngineTraits:
    """What the engine says of itself. Raises EngineUnavailable when it does not answer."""
    with reached(engine_address()):
        info: dict[str, Any] = client.info()
        version: dict[str, Any] = client.version()
    if info.get("OSType", "linux") != "linux":
        raise EngineUnavailable(
            f"the Docker engine runs {info['OSType']} containers: switch it to Linux containers"
        )
    components = {part.get("Name") for part in version.get("Components") or []}
    product = "podman" if "Podman Engine" in components else "docker"
    is_remote = not str(client.api.base_url).startswith("http+docker://local")
    return EngineTraits(
        product=product,
        version=str(version["Version"]),
        architecture=str(version["Arch"]),
        is_rootless=_is_rootless(info) or (product == "podman" and _is_rootless_podman(client)),
        is_remote=is_remote,
        has_nvidia=_has_nvidia(info, is_remote),
        memory_bytes=int(info["MemTotal"]),
        cpus=int(info["NCPU"]),
        data_root=str(info.get("DockerRootDir", "")),
        has_limits=bool(info.get("MemoryLimit", True) and info.get("CpuCfsQuota", True)),
    )


def check_gpu(engine: EngineTraits) -> None:
    """Raises DeviceUnavailable, with what to install, unless `engine` can hand out GPUs."""
    if engine.has_nvidia:
        return
    mend = "or use --instance local, which trains on the CPU"
    if engine.product == "podman":
        raise DeviceUnavailable(
            f"podman does not take requests for GPUs over its socket: use Docker, {mend}"
        )
    raise DeviceUnavailable(
        "the Docker engine has no NVIDIA runtime, so no container gets a GPU: install "
        "nvidia-container-toolkit, then sudo nvidia-ctk runtime configure --runtime=docker && "
        f"sudo systemctl restart docker; {mend}"
    )


@contextmanager
def reached(address: str) -> Iterator[None]:
    """Within it, an engine that does not answer is an EngineUnavailable that names the mend."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except APIError as error:
        told = error.explanation or str(error)
        raise EngineUnavailable(f"the Docker engine at {address} answers: {told}") from error
    except (DockerException, RequestException) as error:
        raise EngineUnavailable(_mend(error, address)) from error


def _mend(error: Exception, address: str) -> str:
    where = address.removeprefix("unix://")
    text = str(error)
    process = "or use --instance process, which needs none"
    if "PermissionError" in text or "Permission denied" in text:
        return (
            f"this user may not talk to the Docker engine at {where}: "
            f"sudo usermod -aG docker $USER, then log in again; {process}"
        )
    if "no longer supported" in text or "is too new" in text or "is too old" in text:
        return f"the Docker engine at {where} and this client have no version in common: {text}"
    if "imed out" in text or "imeout" in text:
        return (
            f"the Docker engine at {where} takes connections but does not answer: "
            f"restart it (sudo systemctl restart docker), {process}"
        )
    if not is_here(address):
        return (
            f"no Docker engine answers at {address}: mend DOCKER_HOST, or unset it for this "
            f"machine's own, {process}"
        )
    return f"no Docker engine answers at {where}: start it (sudo systemctl start docker), {process}"


def _check_api(address: str, version: str) -> None:
    numbers = tuple(int(part) for part in version.split("."))
    if numbers < _OLDEST_API:
        raise EngineUnavailable(
            f"the engine at {address} speaks version {version} of Docker's API: Docker 20.10 or "
            f"Podman 4 (version {'.'.join(map(str, _OLDEST_API))}) or newer is needed; "
            "or use --instance process"
        )


def _is_rootless(info: dict[str, Any]) -> bool:
    return any("rootless" in each for each in info.get("SecurityOptions") or [])


def _is_rootless_podman(client: DockerClient) -> bool:
    """Podman 4 says so in its own language alone."""
    with reached(engine_address()):
        answer = client.api.get(f"{client.api.base_url}/v4.0.0/libpod/info")
        answer.raise_for_status()
        return bool(answer.json()["host"]["security"]["rootless"])


def _has_nvidia(info: dict[str, Any], is_remote: bool) -> bool:
    if any("nvidia" in name for name in info.get("Runtimes") or {}):
        return True
    devices = info.get("DiscoveredDevices") or []  # CDI, from Docker 28.3
    if any("nvidia.com/gpu" in str(device.get("ID")) for device in devices):
        return True
    # Docker serves `--gpus` through this hook, whether or not the runtime is registered too.
    return not is_remote and shutil.which(_NVIDIA_HOOK) is not None
