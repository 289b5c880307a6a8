"""Ranks that are not alike, and ranks that die."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from two_ranks import join_group, leave_group

from smart_sifting.discovery import patch
from smart_sifting.discovery.discoverer import Discoverer
from smart_sifting.job_report import JobReport
from smart_sifting.sift_config.job_config import SiftConfig

DEAD, ENDED = 9, 1
SECONDS = 300


class Job:
    """What a process of a sifted job has. Its model is averaged once an epoch, or by DDP."""

    def __init__(self, *, ddp: bool) -> None:
        self.report = JobReport(None, 0.5)
        self.discoverers: list[Discoverer] = []
        self.undo = patch(self._discoverer)
        torch.manual_seed(0)
        self.model: nn.Module = nn.Linear(8, 4)
        self.ddp = ddp
        if ddp:
            self.model = DistributedDataParallel(self.model)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.batches: list[int] = []

    def epoch(self, loader: DataLoader[Any], die_at: int | None = None) -> None:
        """Train; end this process as a signal would at that batch."""
        self.batches.append(0)
        for x, y in loader:
            if self.batches[-1] == die_at:
                os._exit(DEAD)
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(x), y).backward()
            self.optimizer.step()
            self.batches[-1] += 1
        if not self.ddp:
            for parameter in self.model.parameters():
                dist.all_reduce(parameter.data, op=dist.ReduceOp.SUM)
                parameter.data /= dist.get_world_size()

    def close(self) -> dict[str, Any]:
        """What became of it."""
        self.undo()
        for each in self.discoverers:
            each.close()
        return {"batches": self.batches, "tier": self.report.tier, "notes": self.report.notes}

    def _discoverer(self, plain_length: Any) -> Discoverer:
        config = SiftConfig(keep=0.5, source="memory")
        self.discoverers.append(Discoverer(config, self.report, plain_length))
        return self.discoverers[0]


def samples(count: int) -> TensorDataset:
    x = torch.randn(count, 8, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x[:, :4].argmax(1))


def tell(folder: str, rank: int, told: Any) -> None:
    Path(folder, f"{rank}.json").write_text(json.dumps(told))


def heard(folder: Path, rank: int) -> Any:
    return json.loads((folder / f"{rank}.json").read_text())


def test_ranks_with_different_batch_sizes_keep_step(tmp_path: Path) -> None:
    mp.spawn(unlike, args=(str(tmp_path),), nprocs=2)

    as_many = {"batches": [20, 20, 20], "tier": "memory", "notes": []}
    half_as_many = {"batches": [10, 10, 10], "tier": "memory", "notes": []}
    assert [heard(tmp_path, rank) for rank in (0, 1)] == [
        [as_many, as_many],
        [as_many, half_as_many],
    ]


def unlike(rank: int, folder: str) -> None:
    join_group(rank, folder)
    told = []
    # A rank with twice the samples and batches of twice the size takes as many steps.
    job = Job(ddp=True)
    own = DataLoader(samples(400 * (rank + 1)), batch_size=10 * (rank + 1), shuffle=True)
    for _ in range(3):
        job.epoch(own)
    told.append(job.close())
    # Ranks that share one data set and meet at an epoch's end only may take different numbers.
    job = Job(ddp=False)
    data = samples(800)
    shared = DataLoader(data, batch_size=10 * (rank + 1), sampler=DistributedSampler(data, 2, rank))
    for _ in range(3):
        job.epoch(shared)
    told.append(job.close())
    tell(folder, rank, told)
    leave_group()


@pytest.mark.parametrize(
    ("ddp", "die_at", "batches", "tier"),
    [(True, 5, [20, 5], "memory"), (False, None, [20, 20], "pass-through")],
    ids=["in mid-epoch", "before ranks tell each other their losses"],
)
def test_a_rank_that_dies_ends_the_others(
    ddp: bool, die_at: int | None, batches: list[int], tier: str, tmp_path: Path
) -> None:
    context = mp.get_context("spawn")
    ranks = [
        context.Process(target=mortal, args=(rank, str(tmp_path), ddp, die_at)) for rank in (0, 1)
    ]
    for each in ranks:
        each.start()
    for each in ranks:
        each.join(SECONDS)
    ended = [each.exitcode for each in ranks]
    for each in ranks:
        each.kill()

    assert ended == [ENDED, DEAD]
    # Where ranks meet at an epoch's end only, the script gets that far, and meets its own error.
    assert heard(tmp_path, 0) == {"batches": batches, "tier": tier, "notes": []}


def mortal(rank: int, folder: str, ddp: bool, die_at: int | None) -> None:
    join_group(rank, folder)
    job = Job(ddp=ddp)
    data = samples(800)
    loader = DataLoader(data, batch_size=10, sampler=DistributedSampler(data, 2, rank))
    job.epoch(loader)
    if rank == 1 and die_at is None:
        os._exit(DEAD)
    try:
        job.epoch(loader, die_at if rank == 1 else None)
    except RuntimeError:
        tell(folder, rank, job.close())
        os._exit(ENDED)  # as `leave_group` does, from a group that is broken
    os._exit(0)
