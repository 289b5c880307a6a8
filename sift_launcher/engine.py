"""The Docker engine that images are built with and containers run on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sift_launcher.errors import EngineUnavailable

if TYPE_CHECKING:
    from docker import DockerClient

LABEL = "sift-launcher"
"""Every container and network that we make carries this label; what it says is the job's name."""

_PATIENCE_SECONDS = 30


def connect(timeout: float = _PATIENCE_SECONDS) -> DockerClient:
    """A client of the engine that $DOCKER_HOST or the current context names, once it answers.

    `timeout`: how long each of its answers may take, in seconds. Raises EngineUnavailable with
    the command that mends it.
    """
    # A tenth of a second of imports, which a job that needs no engine does not pay.
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=int(timeout))
        client.ping()
    except DockerException as error:
        raise EngineUnavailable(_mend(error)) from error
    return client


def _mend(error: Exception) -> str:
    where = os.environ.get("DOCKER_HOST", "/var/run/docker.sock")
    text = str(error)
    if "PermissionError" in text or "Permission denied" in text:
        return (
            f"this user may not talk to the Docker engine at {where}: "
            "sudo usermod -aG docker $USER, then log in again"
        )
    return (
        f"no Docker engine answers at {where}: start it (sudo systemctl start docker), or use "
        "--instance process, which needs none"
    )
