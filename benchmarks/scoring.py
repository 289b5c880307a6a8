"""What it costs to score a window, in every way that is taken and in those that were left out."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.measure import Figure, Result, interleave, medians
from smart_sifting.loss.abstract_sift_loss_module import Loss
from smart_sifting.no_trace import no_trace
from smart_sifting.scoring import ForwardScorer
from smart_sifting.scoring_cost import TRIALS, WindowScorer, rank_correlation

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "benchmarks/sifting/scripts"
FETCH = ROOT / "examples/fashion_mnist/fetch.py"

ROUNDS = 9
IMAGES = 4000
EPOCHS = 12
STEPS_BEFORE = 12
KEEP = 0.5
PLAIN = "evaluation forward, batch by batch"


@dataclass
class Workload:
    """A model in training and one window of its batches."""

    name: str
    model: nn.Module
    window: list[tuple[Tensor, Tensor]]
    pictures: bool = True

    @property
    def whole(self) -> tuple[Tensor, Tensor]:
        inputs, labels = zip(*self.window, strict=True)
        return torch.cat(inputs), torch.cat(labels)


class CrossEntropy(Loss):
    def loss(
        self, model: nn.Module, transformed_batch: object, original_batch: object = None
    ) -> Tensor:
        inputs, labels = transformed_batch  # type: ignore[misc]
        return F.cross_entropy(model(inputs), labels, reduction="none")


def measure() -> Result:
    """Four minutes on one thread, of processor time: other work of the machine does not count."""
    torch.set_num_threads(1)
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # a job's first compilation is meant
    figures: list[Figure] = []
    samples: dict[str, list[float]] = {}
    notes = [
        f"A window is what `keep={KEEP}` chooses from: two batches, and 64 samples at least. "
        "Medians of interleaved rounds; a way's figure is processor seconds for a window.",
        "",
    ]
    for work in workloads():
        train(work, STEPS_BEFORE)
        compiled, compiling = compiled_scorer(work)
        measured = interleave(arms(work) | {"compiled": compiled}, rounds=ROUNDS)
        samples |= {f"{work.name}: {name}": seconds for name, seconds in measured.items()}
        middle = medians(measured)
        figures += [figure(work.name, arm, middle) for arm in middle if arm != PLAIN]
        notes += [note(work.name, middle, compiling)]
    return Result("scoring", figures, samples, [*notes, *agreements()])


def workloads() -> list[Workload]:
    sys.path.insert(0, str(SCRIPTS))
    resnet, encoder = import_module("images").ResNet, import_module("reviews").Encoder
    torch.manual_seed(0)
    return [
        Workload("small ResNet", resnet(1, 16, [1, 1, 1], 2), pictures_of(2, 100, (1, 28, 28))),
        Workload(
            "small ResNet, batches of 16",
            resnet(1, 16, [1, 1, 1], 2),
            pictures_of(4, 16, (1, 28, 28)),
        ),
        Workload(
            "ResNet-18 of half width", resnet(3, 32, [2] * 4, 1), pictures_of(2, 64, (3, 32, 32))
        ),
        Workload("encoder", encoder(10_000, 128, 128, 2), texts_of(2, 32, 128), pictures=False),
    ]


def pictures_of(batches: int, rows: int, shape: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
    return [(torch.randn(rows, *shape), torch.randint(0, 10, (rows,))) for _ in range(batches)]


def texts_of(batches: int, rows: int, length: int) -> list[tuple[Tensor, Tensor]]:
    return [
        (torch.randint(1, 10_000, (rows, length)), torch.randint(0, 2, (rows,)))
        for _ in range(batches)
    ]


def train(work: Workload, steps: int) -> None:
    optimizer = torch.optim.SGD(work.model.parameters(), 0.05)
    for step in range(steps):
        step_on(work.model, optimizer, work.window[step % len(work.window)])


def step_on(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]
) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(batch[0]), batch[1]).backward()
    optimizer.step()


def arms(work: Workload) -> dict[str, Callable[[], float]]:
    """What is measured: each scores all of the window once, or trains on all of it."""
    model, whole = work.model, work.whole
    # A step that changes nothing, so that all rounds are alike.
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    settled = WindowScorer(ForwardScorer(CrossEntropy(), model), clock=time.process_time)
    window = [(batch, batch, len(batch[1])) for batch in work.window]
    for _ in range(TRIALS):
        settled(window)

    def training_steps() -> None:
        for batch in work.window:
            step_on(model, optimizer, batch)

    def training_forwards() -> None:
        for inputs, labels in work.window:
            F.cross_entropy(model(inputs), labels)

    def in_bfloat16(batches: list[tuple[Tensor, Tensor]]) -> None:
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            score(model, batches)

    def in_inference_mode() -> None:
        with torch.inference_mode():
            score(model, work.window)

    ways: dict[str, Callable[[], object]] = {
        "training steps": training_steps,
        "training forward": training_forwards,
        PLAIN: partial(score, model, work.window),
        "the way that is settled on": partial(settled, window),
        "at once": partial(score, model, [whole]),
        "bfloat16": partial(in_bfloat16, work.window),
        "bfloat16, at once": partial(in_bfloat16, [whole]),
        "inference mode": in_inference_mode,
    }
    if work.pictures:
        halved = [(F.avg_pool2d(inputs, 2), labels) for inputs, labels in work.window]
        ways["half the resolution"] = partial(score, model, halved)
    return {name: partial(seconds_of, way) for name, way in ways.items()}


def score(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    """One loss for each sample, without a trace, as `ForwardScorer` has them."""
    losses = []
    for inputs, labels in batches:
        with no_trace([model]):
            losses.append(F.cross_entropy(model(inputs), labels, reduction="none").double())
    return torch.cat(losses)


def compiled_scorer(work: Workload) -> tuple[Callable[[], float], float]:
    """A way through the compiled model, and the wall seconds until its first scores."""
    way = partial(score, torch.compile(work.model), work.window)
    start = time.perf_counter()
    way()
    return partial(seconds_of, way), time.perf_counter() - start


def seconds_of(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def figure(workload: str, arm: str, middle: dict[str, float]) -> Figure:
    value, peer = middle[arm], middle[PLAIN]
    settled = arm == "the way that is settled on"
    claim = "never more than 5 % more" if settled else ""
    holds = value <= 1.05 * peer if settled else None
    return Figure(f"{workload}: {arm}", value, "s", PLAIN, peer, claim, holds, ROUNDS)


def note(workload: str, middle: dict[str, float], compiling: float) -> str:
    step, forward = middle["training steps"], middle["training forward"]
    plain, settled = middle[PLAIN], middle["the way that is settled on"]

    def saved(scoring: float) -> str:
        return f"{100 * (1 - KEEP - scoring / step):.0f} %"

    return (
        f"- {workload}: scoring plainly takes {plain / forward:.2f} of the training step's own "
        f"forward, and so sifting saves {saved(plain)} of the time at `keep={KEEP}`; in the way "
        f"settled on {settled / forward:.2f}, which saves {saved(settled)}. "
        f"Compiling took {compiling:.0f} s."
    )


def agreements() -> list[str]:
    """How cheaper scores rank the samples of a model that really trains, early and late."""
    examples = import_module("examples.fashion_mnist.train")
    command = [sys.executable, str(FETCH)]
    folder = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    images, labels = examples.load_split(Path(folder), "train", IMAGES).tensors
    torch.manual_seed(0)
    model = import_module("images").ResNet(1, 16, [1, 1, 1], 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    found = []
    for epoch in range(1, EPOCHS + 1):
        for rows in torch.randperm(len(labels)).split(100):
            step_on(model, optimizer, (images[rows], labels[rows]))
        if epoch in (1, EPOCHS):
            found.append(f"{agreement(model, images[:2000], labels[:2000])} after epoch {epoch}")
    return [
        "",
        "Rank correlation with the plain losses, of 2,000 Fashion-MNIST images that the small "
        f"ResNet trains on: {'; '.join(found)}. So half the resolution chooses hardly better than "
        "chance, and is left out; inference mode and compiling save too little for what they ask.",
    ]


def agreement(model: nn.Module, images: Tensor, labels: Tensor) -> str:
    plain = score(model, [(images, labels)])
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        bfloat16 = score(model, [(images, labels)])
    halved = score(model, [(F.avg_pool2d(images, 2), labels)])
    return (
        f"bfloat16 {rank_correlation(plain, bfloat16):.4f}, half the resolution "
        f"{rank_correlation(plain, halved):.2f}"
    )
