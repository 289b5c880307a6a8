"""What processes that train together know of each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist


def world_size() -> int:
    """Ranks that train together; 1 outside of torch.distributed."""
    if not dist.is_available() or not dist.is_initialized():
        return 1
    return dist.get_world_size()


def same_on_all_ranks(number: int) -> bool:
    """Whether all ranks have the same number. A collective."""
    lowest, minus_highest = lowest_of_all_ranks([number, -number])
    return lowest == -minus_highest


def lowest_of_all_ranks(numbers: Sequence[int]) -> list[int]:
    """The lowest that any rank has in each place. A collective."""
    if world_size() == 1:
        return list(numbers)
    lowest = torch.tensor(numbers, device=collective_device())
    dist.all_reduce(lowest, op=dist.ReduceOp.MIN)
    return [int(number) for number in lowest.tolist()]


def collective_device() -> str:
    """The device whose tensors the ranks' collectives take."""
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
