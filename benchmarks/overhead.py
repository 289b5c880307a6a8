"""What memory costs a training step, and what finding everything out costs a job.

Each round is a process of its own that trains one small network on the same data: plain, sifted to
half by memory, and evenly (the same without reading losses). A step of it takes a fraction of a
millisecond, so that what ours adds shows; the claim is about steps of 5 ms. Discovery is measured
on steps of some milliseconds, for it runs a few of them again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from benchmarks.measure import Figure, Result, interleave, medians

ROUNDS = 7
STEPS = 800
EPOCHS = 6
BATCH_SIZE = 64
STEP = 5e-3
JOB_STEPS = 1000

SOURCES = {"plain": None, "memory": "memory", "evenly": "batch"}


def measure() -> Result:
    """Three minutes where nothing else runs."""
    rounds = interleave(
        {name: lambda source=source: step_of(source) for name, source in SOURCES.items()}, ROUNDS
    )
    found = [discovery() for _ in range(ROUNDS)]
    middle = medians(rounds)
    job = sorted(each["discovery"] / each["step"] for each in found)[ROUNDS // 2]
    figures = [
        Figure(
            f"{name}, microseconds it adds to a step",
            round((middle[name] - middle["plain"]) * 1e6, 2),
            "us",
            "a step of 5 ms",
            STEP * 1e6,
            "at most 1 % of it",
            holds=middle[name] - middle["plain"] <= 0.01 * STEP,
            runs=ROUNDS,
        )
        for name in ("memory", "evenly")
    ]
    figures.append(
        Figure(
            "discovery, in training steps of the same job",
            round(job, 2),
            "steps",
            f"a job of {JOB_STEPS:,} steps",
            JOB_STEPS,
            "at most 2 % of it",
            holds=job <= 0.02 * JOB_STEPS,
            runs=ROUNDS,
        )
    )
    step = sorted(each["step"] for each in found)[ROUNDS // 2]
    return Result(
        "overhead",
        figures,
        {**rounds, "discovery": found},
        [
            "Processor seconds of one thread; of each round the fastest epoch. "
            f"A plain step of the small network took {middle['plain'] * 1e6:.0f} us, "
            f"one of the network that is discovered {step * 1e3:.1f} ms."
        ],
    )


def step_of(source: str | None) -> float:
    """Processor seconds of a step, in the fastest epoch of a process of its own."""
    return float(in_process("steps", source)["step"])


def discovery() -> dict[str, float]:
    """Seconds of discovery and of a step, in a process of its own."""
    return in_process("discovery", "memory")


def in_process(what: str, source: str | None) -> dict[str, float]:
    command = [sys.executable, __file__, what, source or ""]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(run.stdout.splitlines()[-1]))


# -- in the process --------------------------------------------------------------------------------


def main(what: str, source: str) -> dict[str, float]:
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    report = sifted(source) if source else None
    if what == "steps":
        return {"step": min(epochs(BATCH_SIZE * STEPS, width=16, layers=1))}
    seconds = epochs(BATCH_SIZE * 200, width=1024, layers=3)
    if report is None:
        raise RuntimeError("discovery is of a sifted job")
    return {"step": min(seconds), "discovery": report.meter.discovery_seconds}


def sifted(source: str) -> Any:
    """Discovery in this process, keeping half."""
    from smart_sifting.discovery import patch
    from smart_sifting.discovery.discoverer import Discoverer
    from smart_sifting.job_report import JobReport
    from smart_sifting.sift_config.job_config import SiftConfig

    report = JobReport(None, 0.5)
    config = SiftConfig(keep=0.5, source=source)
    patch(lambda plain_length: Discoverer(config, report, plain_length))
    return report


def epochs(samples: int, width: int, layers: int) -> list[float]:
    """Processor seconds of a step in each epoch but the first."""
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(torch.randn(samples, width), torch.randint(0, 10, (samples,)))
    hidden = [layer for _ in range(layers - 1) for layer in (nn.Linear(width, width), nn.ReLU())]
    model = nn.Sequential(*hidden, nn.Linear(width, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loader = DataLoader(data, batch_size=BATCH_SIZE, shuffle=True)
    seconds = []
    for _ in range(EPOCHS):
        steps, start = 0, time.process_time()
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            steps += 1
        seconds.append((time.process_time() - start) / steps)
    return seconds[1:]


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
