"""Ranks that see different things must still give their script equally many batches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from two_ranks import join_group, leave_group

from smart_sifting.discovery import patch
from smart_sifting.discovery.discoverer import Discoverer
from smart_sifting.job_report import JobReport
from smart_sifting.sift_config.job_config import SiftConfig


def plain(rank: int, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y)


def noisy_on_rank_1(rank: int, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """What rank 1 draws outside of the tape cannot be replayed."""
    return F.cross_entropy(model(x + rank * torch.randn(x.shape)), y)


class Breaks(nn.Module):
    """A model whose forward fails on rank 1 when it is asked for scores the fifth time."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 4)
        self.rank = rank
        self.scored = 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            self.scored += 1
            if self.rank == 1 and self.scored > 8:
                raise ValueError("no more scores")
        return self.linear(x)


@pytest.mark.parametrize(
    ("source", "loss", "breaks", "expected"),
    [
        (
            "auto",
            plain,
            False,
            [
                {"batches": [20, 20, 20], "tier": "memory"},
                {"batches": [20, 20, 20], "tier": "memory"},
            ],
        ),
        (
            "auto",
            noisy_on_rank_1,
            False,
            [
                {"batches": [20, 20, 20], "tier": "batch"},
                {"batches": [20, 20, 20], "tier": "batch"},
            ],
        ),
        (
            "forward",
            plain,
            False,
            [
                {"batches": [20, 20, 20], "tier": "forward"},
                {"batches": [20, 20, 20], "tier": "forward"},
            ],
        ),
        (
            "forward",
            noisy_on_rank_1,
            False,
            [
                {"batches": [40, 40, 40], "tier": "pass-through"},
                {"batches": [40, 40, 40], "tier": "pass-through"},
            ],
        ),
        (
            "forward",
            plain,
            True,
            [
                {"batches": [20, 20, 20], "tier": "forward"},
                {"batches": [20, 20, 20], "tier": "pass-through"},
            ],
        ),
    ],
    ids=[
        "alike",
        "one rank cannot be verified",
        "alike, scored",
        "one rank cannot be scored",
        "one rank's scoring fails in mid-epoch",
    ],
)
def test_ranks_stay_in_step(
    source: str,
    loss: Callable[..., Tensor],
    breaks: bool,
    expected: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    mp.spawn(train, args=(str(tmp_path), source, loss, breaks), nprocs=2)

    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)] == expected


@pytest.mark.parametrize("source", ["memory", "batch"])
def test_one_rank_alone_may_look_at_a_batch_between_epochs(source: str, tmp_path: Path) -> None:
    """As scripts do that log a picture of their data on the first rank."""
    mp.spawn(train, args=(str(tmp_path), source, plain, False, True), nprocs=2)

    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert told == [{"batches": [20, 20, 20], "tier": source}] * 2


def train(
    rank: int,
    folder: str,
    source: str,
    loss: Callable[..., Tensor],
    breaks: bool,
    looks: bool = False,
) -> None:
    join_group(rank, folder)
    report = JobReport(None, 0.5)
    config = SiftConfig(keep=0.5, source=source)
    patch(lambda plain_length: Discoverer(config, report, plain_length))
    torch.manual_seed(0)
    x = torch.randn(800, 8)
    data = TensorDataset(x, x[:, :4].argmax(1))
    batches = DataLoader(data, batch_size=10, sampler=DistributedSampler(data, 2, rank))
    model = DistributedDataParallel(Breaks(rank if breaks else 0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    given = []
    for _ in range(3):
        count = 0
        for inputs, labels in batches:
            optimizer.zero_grad()
            loss(rank, model, inputs, labels).backward()
            optimizer.step()
            count += 1
        given.append(count)
        if looks and rank == 0:
            next(iter(batches))
        dist.barrier()
    Path(folder, f"{rank}.json").write_text(json.dumps({"batches": given, "tier": report.tier}))
    leave_group()


def test_ranks_with_data_of_their_own_go_down_to_one_share(tmp_path: Path) -> None:
    """By itself, the rank whose labels are right would do with less than the other."""
    mp.spawn(choose_a_share, args=(str(tmp_path),), nprocs=2)

    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first[:4] == [40] * 4
    assert first[4] < 40


def choose_a_share(rank: int, folder: str) -> None:
    join_group(rank, folder)
    report = JobReport(None, 0.3)
    config = SiftConfig(keep=0.3, auto=True)
    patch(lambda plain_length: Discoverer(config, report, plain_length))
    generator = torch.Generator().manual_seed(rank)
    x = torch.randn(640, 8, generator=generator)
    y = x[:, :4].argmax(1)
    if rank == 1:
        y[:128] = torch.randint(0, 4, (128,), generator=generator)
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Linear(8, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    batches = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
    given = []
    for _ in range(6):
        given.append(0)
        for inputs, labels in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
            given[-1] += 1
    Path(folder, f"{rank}.json").write_text(json.dumps(given))
    leave_group()
