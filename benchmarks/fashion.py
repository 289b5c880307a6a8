"""Fashion-MNIST, all samples against half of them: accuracy, samples, steps and seconds.

Four arms, interleaved over the seeds, all the same unmodified script on one CPU thread:

- plain: every sample of every epoch;
- sifted: `sift-launch --keep 0.5`, its learning-rate schedule fitted to the steps it takes;
- shortened: plain training for half the epochs, its schedule fitted likewise;
- subset: plain training on a random half of the images, the same half in every epoch.

The last two are the controls that count: they take as many steps as sifting, and score nothing.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, Result

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "examples/fashion_mnist/train.py"
LAUNCH = str(Path(sys.executable).with_name("sift-launch"))

SEEDS = (0, 1, 2)
IMAGES = 20_000
EPOCHS = 8
KEEP = 0.5

ARMS: dict[str, tuple[list[str], int, int]] = {
    "plain": (["--no-sift"], EPOCHS, IMAGES),
    "sifted": (["--keep", str(KEEP)], EPOCHS, IMAGES),
    "shortened": (["--no-sift"], round(EPOCHS * KEEP), IMAGES),
    # The files are in random order already: the first images are a random share.
    "subset": (["--no-sift"], EPOCHS, round(IMAGES * KEEP)),
}

PRINTED = {
    "accuracy": r"^test accuracy: ([\d.]+)",
    "samples": r"^trained on (\d+) samples",
    "steps": r"^trained on .* in (\d+) steps",
    "training_seconds": r"^trained on .* steps, ([\d.]+) s",
    "last_learning_rate": r"^learning rate at the end: ([\d.]+)",
}


def measure() -> Result:
    """Twelve jobs; eight minutes where nothing else runs."""
    command = [sys.executable, str(SCRIPT.with_name("fetch.py"))]
    data = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    runs: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in SEEDS:
            for arm in ARMS:
                runs[arm].append(run(arm, seed, data, Path(scratch)))
                print(arm, json.dumps(runs[arm][-1]), flush=True)
    return Result("fashion", figures(runs), runs, notes(runs))


def run(arm: str, seed: int, data: str, scratch: Path) -> dict[str, Any]:
    """One job through the launcher: what the script printed, and what the receipt says."""
    options, epochs, images = ARMS[arm]
    name = f"{arm}-{seed}"
    env = os.environ | {"SIFT_LAUNCHER_HOME": str(scratch / "home"), "OMP_NUM_THREADS": "1"}
    numbers = {"--epochs": epochs, "--limit": images, "--threads": 1, "--seed": seed}
    arguments = [str(word) for pair in numbers.items() for word in pair]
    where = ["--name", name, "--output", str(scratch / "output"), "--data", f"train={data}"]
    start = time.perf_counter()
    launch([*options, *where, str(SCRIPT), "--", *arguments], env)
    seconds = time.perf_counter() - start
    log = launch(["logs", name], env)
    found: dict[str, Any] = {"seed": seed, "job_seconds": round(seconds, 2)}
    for key, pattern in PRINTED.items():
        found[key] = float(re.findall(pattern, log, re.MULTILINE)[-1])
    if arm == "sifted":
        receipt = json.loads(launch(["receipt", name, "--json"], env))
        parts = ("tier", "samples", "seconds", "unsifted", "saved")
        found["receipt"] = {part: receipt[part] for part in parts}
    return found


def launch(arguments: Sequence[str], env: dict[str, str]) -> str:
    result = subprocess.run([LAUNCH, *arguments], env=env, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"sift-launch {' '.join(arguments)} failed:\n{result.stderr[-3000:]}")
    return result.stdout


def figures(runs: dict[str, list[dict[str, Any]]]) -> list[Figure]:
    def middle(arm: str, key: str, average: Any = statistics.median) -> float:
        return float(average([found[key] for found in runs[arm]]))

    def compare(key: str, unit: str, average: Any = statistics.median) -> list[Figure]:
        plain = middle("plain", key, average)
        return [
            Figure(
                f"{arm}: {key.replace('_', ' ')}",
                round(middle(arm, key, average), 4),
                unit,
                "plain",
                round(plain, 4),
                "",
                runs=len(runs[arm]),
            )
            for arm in ARMS
            if arm != "plain"
        ]

    return [
        *compare("accuracy", "", statistics.mean),
        *compare("samples", ""),
        *compare("steps", ""),
        *compare("training_seconds", "s"),
        *compare("job_seconds", "s"),
    ]


def notes(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    def spread(arm: str) -> str:
        accuracies = ", ".join(f"{100 * found['accuracy']:.2f}" for found in runs[arm])
        return f"{arm} {accuracies}"

    last = max(found["last_learning_rate"] for found in runs["sifted"])
    shares = [found["receipt"]["seconds"] for found in runs["sifted"]]
    scoring = statistics.median(s["scoring"] for s in shares)
    saved = statistics.median(found["receipt"]["saved"]["share"] for found in runs["sifted"])
    return [
        f"{IMAGES:,} images, {EPOCHS} epochs, keep {KEEP}, seeds {', '.join(map(str, SEEDS))}; "
        "accuracies are means, all else medians.",
        "",
        f"- Test accuracy by seed (%): {'; '.join(spread(arm) for arm in ARMS)}.",
        f"- The sifted runs' learning rate at the end: {last:.6f} (the schedule fits the steps).",
        f"- The receipts of the sifted runs: {scoring:.1f} s of scoring, "
        f"{100 * saved:.1f} % of the training time saved.",
        "- `shortened` is plain training for half the epochs, `subset` on a fixed random half of "
        "the images, each with a schedule of its own length.",
    ]
