"""What is trained: data, model and length, in a size for two CPU cores and in one for a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"

Options = Mapping[str, object]
"""A script's options by their names without the dashes; True for one that takes no value."""


@dataclass(frozen=True)
class Metric:
    """What a script prints and what it is called in a table."""

    printed: str
    unit: str
    better: int
    """1 where more is better, -1 where less is."""

    tolerance: float
    """How far from full training's result still counts as equal to it."""

    scale: float = 1.0
    """From the printed number to the table's."""

    digits: int = 2


ACCURACY = Metric("test accuracy", "%", 1, 0.2, scale=100.0)
BITS = Metric("test bits per byte", "bits/byte", -1, 0.005, digits=4)


@dataclass(frozen=True)
class Workload:
    """One training that every arm does."""

    title: str
    script: str
    """Its file name among the scripts."""

    data: str
    """The data set's name, see `data.DATA_SETS`."""

    cpu: Options
    """The script's options on a CPU, `epochs` among them."""

    full: Options
    """The same for a GPU."""

    metric: Metric = ACCURACY

    def options(self, size: str) -> Options:
        """The script's options in the size "cpu" or "full"."""
        return self.cpu if size == "cpu" else self.full


_THUMB: Options = {"width": 16, "depths": (1, 1, 1), "stem-stride": 2}
"""Three blocks on pictures that are halved at once: what a CPU core can train in a minute."""

_NARROW: Options = {"width": 8, "depths": (2, 2, 2, 2), "stem-stride": 2}
"""ResNet-18 with an eighth of its channels, on pictures that are halved at once."""

_RESNET18: Options = {"batch-size": 128, "augment": True, "workers": 4}

WORKLOADS: dict[str, Workload] = {
    "fashion": Workload(
        "Fashion-MNIST, small ResNet",
        "images.py",
        "fashion-mnist",
        {**_THUMB, "limit": 18_000, "epochs": 10},
        {"width": 32, "depths": (1, 1, 1), "epochs": 30, "workers": 4},
    ),
    "cifar10": Workload(
        "CIFAR-10, ResNet-18",
        "images.py",
        "cifar10",
        {**_NARROW, "limit": 10_000, "epochs": 12, "augment": True},
        {**_RESNET18, "epochs": 30},
    ),
    "imdb": Workload(
        "IMDB reviews, transformer encoder",
        "reviews.py",
        "imdb",
        {
            "width": 32,
            "layers": 1,
            "length": 128,
            "limit": 11_000,
            "test-limit": 10_000,
            "epochs": 6,
            "lr": 2e-3,
        },
        {"width": 256, "layers": 4, "length": 256, "epochs": 12, "lr": 5e-4, "workers": 4},
    ),
    "bytes": Workload(
        "Language model on the reviews' bytes",
        "language.py",
        "imdb",
        {
            "width": 64,
            "layers": 2,
            "length": 64,
            "limit": 8_000,
            "test-limit": 2_000,
            "epochs": 6,
            "batch-size": 50,
            "lr": 4e-3,
        },
        {"width": 384, "layers": 6, "length": 256, "epochs": 6, "lr": 1e-3, "workers": 4},
        BITS,
    ),
    "noisy": Workload(
        "CIFAR-10, 20 % of the labels wrong",
        "images.py",
        "cifar10",
        {**_THUMB, "limit": 10_000, "epochs": 15, "flipped": 0.2},
        {**_RESNET18, "epochs": 60, "flipped": 0.2},
    ),
    "long-tail": Workload(
        "CIFAR-10, long tail (imbalance 50)",
        "images.py",
        "cifar10",
        {**_THUMB, "epochs": 11, "imbalance": 50},
        {**_RESNET18, "epochs": 60, "imbalance": 50},
    ),
    "short": Workload(
        "CIFAR-10, short: 4 epochs",
        "images.py",
        "cifar10",
        {**_THUMB, "limit": 36_000, "epochs": 4},
        {**_RESNET18, "epochs": 5},
    ),
    "long": Workload(
        "Fashion-MNIST, long: 40 epochs",
        "images.py",
        "fashion-mnist",
        {**_THUMB, "limit": 4_500, "epochs": 40},
        {"width": 32, "depths": (1, 1, 1), "epochs": 100, "workers": 4},
    ),
    "long-cifar10": Workload(
        "CIFAR-10, long: 40 epochs",
        "images.py",
        "cifar10",
        {**_THUMB, "limit": 3_600, "epochs": 40},
        {**_RESNET18, "epochs": 200},
    ),
}


def script_arguments(options: Options) -> list[str]:
    """The options as a command line has them."""
    words: list[str] = []
    for name, value in options.items():
        words.append(f"--{name}")
        if isinstance(value, tuple):
            words += map(str, value)
        elif value is not True:
            words.append(str(value))
    return words
