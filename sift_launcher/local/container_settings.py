"""What a job in Docker needs beyond its request, once the engine has been asked for it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from sift_launcher.engine import EngineTraits, check_gpu, connect_here, traits
from sift_launcher.errors import ValidationError
from sift_launcher.images import inspect_image
from sift_launcher.local.leftovers import sweep
from sift_launcher.local.machine import MachineShare

_LEAST_MEMORY = 6 * 1024 * 1024  # Docker's own


def container_settings(request: dict[str, Any], share: MachineShare, jobs: Path) -> dict[str, Any]:
    """The settings of the job's record: its share of the machine, complete, and its user.

    On the way it removes what dead jobs of the folder `jobs` left in the engine. Raises
    EngineUnavailable, ImageUnfit, DeviceUnavailable, or ValidationError for a share that the
    engine has not got.
    """
    client = connect_here()
    try:
        engine = traits(client)
        sweep(client.api, jobs)
        image = request["AlgorithmSpecification"]["TrainingImage"]
        inspect_image(client, image, engine, share.platform)
    finally:
        client.close()
    if request["ResourceConfig"]["InstanceType"] == "local_gpu":
        check_gpu(engine)
    _check_share(share, engine)
    memory_bytes = share.memory_bytes or engine.memory_bytes
    # What a host of the service has: half of its memory, the kernel's own default.
    shm_bytes = share.shm_bytes or memory_bytes // 2
    return {
        "Share": replace(share, shm_bytes=shm_bytes).to_dict(),
        # The root of a rootless engine's containers is the user who runs it.
        "User": "0:0" if engine.is_rootless else f"{os.getuid()}:{os.getgid()}",
    }


def _check_share(share: MachineShare, engine: EngineTraits) -> None:
    if share.cpus is not None and not 0.01 <= share.cpus <= engine.cpus:
        raise ValidationError(
            f"{share.cpus:g} cpus cannot be had: the engine has 0.01 to {engine.cpus}"
        )
    if share.memory_bytes is not None and share.memory_bytes < _LEAST_MEMORY:
        raise ValidationError(
            f"{share.memory_bytes} bytes of memory are too few: a container needs 6 MiB"
        )
