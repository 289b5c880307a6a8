"""What the sifting loader costs where it has nothing to do: everything kept, nothing scored."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial

import torch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.measure import Figure, Result, interleave, medians
from smart_sifting.dataloader.sift_dataloader import SiftingDataloader
from smart_sifting.loss.abstract_sift_loss_module import Loss
from smart_sifting.sift_config.job_config import SiftConfig

ROUNDS = 15
STEP_SECONDS = 0.005
BATCHES = 200
BATCH_SIZE = 32


class NeverAsked(Loss):
    """Fails when it is asked for a score."""

    def loss(
        self,
        model: torch.nn.Module,
        transformed_batch: object,
        original_batch: object = None,
    ) -> torch.Tensor:
        raise RuntimeError("a sample was scored, and none should be")


def measure() -> Result:
    """An epoch of 5 ms steps through the plain loader and through ours, interleaved."""
    torch.set_num_threads(1)
    samples = BATCHES * BATCH_SIZE
    dataset = TensorDataset(torch.rand(samples, 3, 32, 32), torch.zeros(samples, dtype=torch.long))
    plain = DataLoader(dataset, BATCH_SIZE, shuffle=True)

    def ours(config: SiftConfig) -> SiftingDataloader:
        return SiftingDataloader(config, plain, NeverAsked(), torch.nn.Identity())

    loaders: dict[str, Iterable[object]] = {
        "DataLoader": plain,
        "SiftingDataloader, keep 1": ours(SiftConfig(keep=1.0)),
        "SiftingDataloader, before its delay is over": ours(SiftConfig(sift_delay=10**9)),
    }
    measured = interleave(
        {name: partial(epoch, loader) for name, loader in loaders.items()}, rounds=ROUNDS
    )
    median = medians(measured)
    peer = "DataLoader"
    return Result(
        "loader",
        [
            Figure(
                name,
                median[name],
                "s",
                peer,
                median[peer],
                "at most 2 % more",
                median[name] <= 1.02 * median[peer],
                ROUNDS,
            )
            for name in loaders
            if name != peer
        ],
        measured,
        [f"An epoch of {BATCHES} batches of {BATCH_SIZE} pictures, a step of 5 ms after each."],
    )


def epoch(loader: Iterable[object]) -> float:
    """Wall seconds of one pass with a step that keeps the processor busy."""
    batches = 0
    start = time.perf_counter()
    for _ in loader:
        batches += 1
        end = time.perf_counter() + STEP_SECONDS
        while time.perf_counter() < end:
            pass
    seconds = time.perf_counter() - start
    if batches != BATCHES:
        raise RuntimeError(f"the loader gave {batches} batches instead of {BATCHES}")
    return seconds
