"""Processes of one gloo group, as tests of `torch.multiprocessing.spawn` need them."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
import torch.distributed as dist


def join_group(rank: int, folder: str, world_size: int = 2) -> None:
    """Make this process one of the ranks, which meet in `folder`."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        f"file://{folder}/store",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(minutes=5),
    )


def leave_group() -> None:
    """End this process at once.

    DistributedDataParallel keeps the threads of gloo alive past destroy_process_group (torch
    2.13), and one that lets go of a tensor while the interpreter goes down aborts the process.
    """
    dist.destroy_process_group()
    os._exit(0)
