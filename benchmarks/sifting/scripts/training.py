"""What the three scripts share: options, the loop, its schedule, and what it cost."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

Criterion = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Tally:
    """What training has cost so far. Samples and steps are those that reached the optimizer,
    `scored` are the rows of forward passes without a gradient, `last_lr` is the last step's."""

    samples: int = 0
    steps: int = 0
    scored: int = 0
    last_lr: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def step(self, samples: int, lr: float) -> None:
        """Count a step of the optimizer."""
        self.samples += samples
        self.steps += 1
        self.last_lr = lr


class Counted(Dataset[tuple[Any, Any]]):
    """Pairs of an input and a target that count how often one is asked for, in workers too."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs = inputs
        self.targets = targets
        self._loads = multiprocessing.Value("q", 0)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        with self._loads.get_lock():
            self._loads.value += 1
        return self.transform(self.inputs[index]), self.targets[index]

    def transform(self, each: Tensor) -> Tensor:
        """What is done to an input each time it is loaded: here nothing."""
        return each

    @property
    def loads(self) -> int:
        return self._loads.value


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all scripts have."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--epochs", type=float, default=5, help="2.5 stops amid the third")
    options.add_argument("--batch-size", type=int, default=100)
    options.add_argument("--lr", type=float, default=0.2, help="the schedule's highest")
    options.add_argument("--limit", type=int, help="train on the first N samples only")
    options.add_argument("--test-limit", type=int, help="test on the first N samples only")
    options.add_argument("--share", type=float, default=1.0, help="of these, a random share")
    options.add_argument("--workers", type=int, default=0)
    options.add_argument("--threads", type=int, help="CPU threads")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--data-dir", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
    options.add_argument("--peer", choices=("selective-backprop", "infobatch"))
    options.add_argument("--peer-code", type=Path, help="the folder with InfoBatch's own source")
    return options


def start(args: argparse.Namespace) -> torch.device:
    """Seeds everything and says where to train."""
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    if args.threads:
        torch.set_num_threads(args.threads)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def random_share(count: int, share: float) -> Tensor:
    """The indices of a random share of `count` samples; of all of them in their order."""
    if share >= 1:
        return torch.arange(count)
    return torch.randperm(count)[: round(share * count)]


def fit(
    model: nn.Module,
    dataset: Counted,
    criterion: Criterion,
    optimizer: torch.optim.Optimizer,
    args: argparse.Namespace,
    device: torch.device,
) -> Tally:
    """Trains for `args.epochs` under a one-cycle schedule that ends with them."""
    tally = Tally()
    counting = model.register_forward_pre_hook(lambda _, inputs: _count_scored(tally, inputs[0]))
    with _Clock(tally):
        if args.peer:
            import peers

            peers.fit(model, dataset, criterion, optimizer, args, device, tally)
        else:
            _fit_plainly(model, dataset, criterion, optimizer, args, device, tally)
    counting.remove()
    print(
        f"trained on {tally.samples} samples in {tally.steps} steps, "
        f"{tally.seconds:.2f} s, {tally.cpu_seconds:.2f} s of CPU"
    )
    print(f"loaded {dataset.loads} samples, scored {tally.scored}")
    print(f"learning rate at the end: {tally.last_lr:.8f}")
    return tally


def one_cycle(
    optimizer: torch.optim.Optimizer, lr: float, total_steps: int, done: int = 0
) -> torch.optim.lr_scheduler.OneCycleLR:
    """Up for the first quarter and down to nothing, `done` steps of it behind us."""
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps, pct_start=0.25, cycle_momentum=False, last_epoch=done - 1
    )


@torch.no_grad()
def outputs_of(
    model: nn.Module, inputs: Tensor, device: torch.device, batch_size: int = 500
) -> Iterator[Tensor]:
    """The model's outputs in evaluation mode, batch by batch."""
    model.eval()
    for batch in inputs.split(batch_size):
        yield model(batch.to(device))


def report_accuracy(model: nn.Module, inputs: Tensor, labels: Tensor, device: torch.device) -> None:
    """Prints the share of right answers, over all and in the worst class."""
    answers = torch.cat([each.argmax(1).cpu() for each in outputs_of(model, inputs, device)])
    right = (answers == labels).float()
    classes = [right[labels == label].mean().item() for label in labels.unique()]
    print(f"test accuracy: {right.mean().item():.4f}")
    print(f"worst class: {min(classes):.4f}")


def _fit_plainly(
    model: nn.Module,
    dataset: Counted,
    criterion: Criterion,
    optimizer: torch.optim.Optimizer,
    args: argparse.Namespace,
    device: torch.device,
    tally: Tally,
) -> None:
    loader = DataLoader(
        dataset, args.batch_size, shuffle=True, drop_last=True, num_workers=args.workers
    )
    total_steps = round(args.epochs * len(loader))
    scheduler = one_cycle(optimizer, args.lr, total_steps)
    model.train()
    for epoch in range(math.ceil(args.epochs)):
        whole = epoch + 1 <= args.epochs
        batches: Iterable[Any] = loader if whole else islice(loader, total_steps - tally.steps)
        for inputs, targets in batches:
            inputs, targets = inputs.to(device), targets.to(device)
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            tally.step(len(targets), scheduler.get_last_lr()[0])
            scheduler.step()


def _count_scored(tally: Tally, inputs: Tensor) -> None:
    if not torch.is_grad_enabled():
        tally.scored += len(inputs)


class _Clock:
    """Adds what happens within it to a tally's seconds."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def __enter__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._tally.seconds = time.perf_counter() - self._wall
        self._tally.cpu_seconds = time.process_time() - self._cpu


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean over all targets; `outputs` has the classes last."""
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())
