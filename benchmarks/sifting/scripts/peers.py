"""The loops that two peers ask a script for in place of its own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from training import Counted, Criterion, Tally, one_cycle


def fit(
    model: nn.Module,
    dataset: Counted,
    criterion: Criterion,
    optimizer: torch.optim.Optimizer,
    args: argparse.Namespace,
    device: torch.device,
    tally: Tally,
) -> None:
    """Trains as `args.peer` does it, with that method's own settings."""
    if args.peer == "infobatch":
        _fit_with_infobatch(model, dataset, optimizer, args, device, tally)
    else:
        _fit_selectively(model, dataset, criterion, optimizer, args, device, tally)


def row_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """One loss a sample; a text's is the mean over its bytes."""
    losses = F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction="none")
    return losses.view(len(targets), -1).mean(1)


def chosen_by_rank(losses: Tensor, keep: float) -> Tensor:
    """Indices of a share of the rows, drawn without replacement with odds rank**(1/keep - 1)."""
    ranks = (np.arange(len(losses)) + 0.5) / len(losses)
    odds = ranks ** (1 / keep - 1)
    drawn = np.random.choice(
        len(losses), int(keep * len(losses)), replace=False, p=odds / odds.sum()
    )
    return losses.argsort()[torch.from_numpy(drawn).to(losses.device)]


def _fit_selectively(
    model: nn.Module,
    dataset: Counted,
    criterion: Criterion,
    optimizer: torch.optim.Optimizer,
    args: argparse.Namespace,
    device: torch.device,
    tally: Tally,
) -> None:
    """Composer's SelectiveBackprop with its defaults, after its documentation: from half to nine
    tenths of the training, in every other batch, half of the rows, the hard ones more likely.

    The scoring pass is made in training mode, as Composer makes it.
    """
    start, end, interrupt, keep = 0.5, 0.9, 2, 0.5
    loader = _loader(dataset, args)
    total_steps = round(args.epochs * len(loader))
    scheduler = one_cycle(optimizer, args.lr, total_steps)
    model.train()
    for number, inputs, targets in _batches(loader, total_steps, device):
        if start <= tally.steps / total_steps < end and (number + 1) % interrupt:
            with torch.no_grad():
                rows = chosen_by_rank(row_losses(model(inputs), targets), keep)
            inputs, targets = inputs[rows], targets[rows]
        optimizer.zero_grad()
        criterion(model(inputs), targets).backward()
        optimizer.step()
        tally.step(len(targets), scheduler.get_last_lr()[0])
        scheduler.step()


def _batches(
    loader: DataLoader[tuple[Tensor, Tensor]], total: int, device: torch.device
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """`total` batches, each with its number in its epoch."""
    done = 0
    while True:
        for number, (inputs, targets) in enumerate(loader):
            yield number, inputs.to(device), targets.to(device)
            done += 1
            if done == total:
                return


def _fit_with_infobatch(
    model: nn.Module,
    dataset: Counted,
    optimizer: torch.optim.Optimizer,
    args: argparse.Namespace,
    device: torch.device,
    tally: Tally,
) -> None:
    """InfoBatch's own package with its defaults, wired as its CIFAR example does it: its dataset,
    its sampler, its mean of the losses, and a schedule fitted anew to each epoch's length."""
    sys.path.insert(0, str(args.peer_code))
    from infobatch import InfoBatch

    epochs = round(args.epochs)
    pruned = InfoBatch(dataset, epochs)
    sampler = pruned.sampler
    loader = _loader(pruned, args, sampler=_Chosen(sampler))
    model.train()
    for epoch in range(epochs):
        iter(sampler)  # prunes, so that the loader's length is this epoch's
        scheduler = one_cycle(optimizer, args.lr, epochs * len(loader), epoch * len(loader))
        for inputs, targets in loader:
            inputs, targets = inputs.to(device), targets.to(device)
            optimizer.zero_grad()
            pruned.update(row_losses(model(inputs), targets)).backward()
            optimizer.step()
            tally.step(len(targets), scheduler.get_last_lr()[0])
            scheduler.step()


class _Chosen:
    """What InfoBatch's sampler has chosen for this epoch.

    Its own `__iter__` chooses anew, and torch's BatchSampler calls that with every batch.
    """

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler

    def __iter__(self) -> Iterator[int]:
        return iter(self._sampler.sample_indices)

    def __len__(self) -> int:
        return len(self._sampler.sample_indices)


def _loader(
    dataset: torch.utils.data.Dataset[tuple[Tensor, Tensor]],
    args: argparse.Namespace,
    sampler: object = None,
) -> DataLoader[tuple[Tensor, Tensor]]:
    return DataLoader(
        dataset,
        args.batch_size,
        shuffle=sampler is None,
        sampler=sampler,
        drop_last=True,
        num_workers=args.workers,
    )
