"""One verdict for all ranks: a rank that sifts beside one that does not would hang the job."""

from __future__ import annotations

import torch
import torch.distributed as dist

from smart_sifting.discovery.watch import Verdict


def world_size() -> int:
    """Ranks that train together; 1 outside of torch.distributed."""
    if not dist.is_available() or not dist.is_initialized():
        return 1
    return dist.get_world_size()


def agreed(verdict: Verdict) -> Verdict:
    """The least of all ranks' verdicts. A collective: every rank calls it after the same batch."""
    if world_size() == 1:
        return verdict
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    least = torch.tensor([int(verdict)], device=device)
    dist.all_reduce(least, op=dist.ReduceOp.MIN)
    return Verdict(int(least))
