"""Jobs of several processes, all in this one: what a killed process leaves behind is its files."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import Dataset, Sampler

from smart_sifting import job_report
from smart_sifting.checkpoints.hooks import patch as patch_files
from smart_sifting.checkpoints.keeper import Keeper
from smart_sifting.discovery import patch as patch_loaders
from smart_sifting.discovery.discoverer import Discoverer
from smart_sifting.job_report import JobReport
from smart_sifting.sift_config.job_config import SiftConfig

SAMPLES, BATCH, FEATURES, CLASSES = 400, 10, 8, 4


class Killed(Exception):
    """Stands for SIGKILL: nothing of ours or of the script's runs after it."""


class Indexed(Dataset[tuple[Tensor, Tensor, int]]):
    """Samples that say their index."""

    def __init__(self, samples: int = SAMPLES) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(samples, FEATURES, generator=generator)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        return self.x[index], self.x[index][:CLASSES].argmax(), index


class Seeded(Sampler[int]):
    """Another order each epoch, whatever other random numbers are drawn."""

    def __init__(self, samples: int = SAMPLES) -> None:
        self.samples, self.epoch = samples, 0

    def __len__(self) -> int:
        return self.samples

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.epoch)
        return iter(torch.randperm(self.samples, generator=generator).tolist())


@dataclass
class Trained:
    """What became of a training: batches and learning rates by epoch and step."""

    weights: Tensor = field(default_factory=lambda: torch.empty(0))
    batches: dict[tuple[int, int], tuple[list[int], float]] = field(default_factory=dict)
    lengths: dict[int, int] = field(default_factory=dict)

    def note(self, epoch: int, step: int, indices: list[int], rate: float) -> None:
        self.batches[epoch, step] = indices, rate


def plain_net() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 16), nn.ReLU(), nn.Linear(16, CLASSES))


def dropout_net() -> nn.Module:
    return nn.Sequential(
        nn.Linear(FEATURES, 16), nn.Dropout(0.2), nn.ReLU(), nn.Linear(16, CLASSES)
    )


@contextmanager
def process(folder: Path, keep: float = 0.5, **settings: Any) -> Iterator[JobReport]:
    """What one process of a job has: its report, its keeper, its hooks on torch.

    Its clock is its own: a real one decides, with the machine's other work, which states are kept.
    """
    config = SiftConfig(keep=keep, **settings)
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    clock = count().__next__
    report = JobReport(folder / "output", keep, clock=lambda: clock() / 1000)
    discoverers: list[Discoverer] = []

    def make_discoverer(plain_length: Callable[[Any], int]) -> Discoverer:
        discoverers.append(Discoverer(config, report, plain_length))
        return discoverers[0]

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(job_report, "_report", report)
        files = patch_files(
            checkpoints,
            lambda save, load: Keeper(checkpoints, report, config.to_json(), save, load),
        )
        files.keeper()
        undo_loaders = patch_loaders(make_discoverer)
        counting = register_optimizer_step_post_hook(report.count_step)
        try:
            yield report
        except Killed:
            # A killed process ends no epoch, and keeps nothing of what its ends would keep.
            report.keeper, report.meter.epoch_listener = None, None
        finally:
            counting.remove()
            undo_loaders()
            for each in discoverers:
                each.close()
            files.undo()
            gc.collect()
