"""What a job in Docker needs beyond its request, once the engine has been asked for it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from sift_launcher.cloud.instance_types import has_gpu
from sift_launcher.engine import EngineTraits, check_gpu, connect_here, traits
from sift_launcher.images import inspect_image
from sift_launcher.instances import LOCAL_GPU
from sift_launcher.local import players
from sift_launcher.local.leftovers import sweep
from sift_launcher.local.machine import MachineShare
from sift_launcher.local.stand_in import StandIn


def container_settings(
    request: dict[str, Any], share: MachineShare, jobs: Path, stand_in: StandIn | None = None
) -> dict[str, Any]:
    """The settings of the job's record: its share of the machine, complete, its GPUs, its user.

    On the way it removes what dead jobs of the folder `jobs` left in the engine. Raises
    EngineUnavailable, ImageUnfit, DeviceUnavailable, or OptionError for a share that the engine
    has not got.
    """
    client = connect_here()
    try:
        engine = traits(client)
        sweep(client.api, jobs)
        image = players.image_of(request, stand_in)
        inspect_image(client, image, engine, share.platform)
    finally:
        client.close()
    if players.instance_of(request) == LOCAL_GPU:
        check_gpu(engine)
    share.check(engine)
    memory_bytes = share.memory_bytes or engine.memory_bytes
    # What a host of the service has: half of its memory, the kernel's own default.
    shm_bytes = share.shm_bytes or memory_bytes // 2
    return {
        "Share": replace(share, shm_bytes=shm_bytes).to_dict(),
        "Gpus": has_gpus(players.instance_of(request), engine),
        "User": user_of(engine),
        # Data that only a group may read is read in a process too.
        "Groups": [] if engine.is_rootless else [str(group) for group in os.getgroups()],
    }


def has_gpus(instance: str, engine: EngineTraits) -> bool:
    """Whether a host gets the engine's GPUs: one of SageMaker's is played without, too."""
    return instance == LOCAL_GPU or (engine.has_nvidia and has_gpu(instance))


def user_of(engine: EngineTraits) -> str:
    """The user and group of a job's processes: the caller, so that its outputs are the caller's."""
    # The root of a rootless engine's containers is the user who runs it.
    return "0:0" if engine.is_rootless else f"{os.getuid()}:{os.getgid()}"
