"""Run the digits example twice, with all samples and sifted, and print the two side by side.

Shows each command before it runs it: what it does can be typed.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = "examples/digits/train.py"
LAUNCH = [str(Path(sys.executable).with_name("sift-launch"))]

FIGURES = {
    "test accuracy": r"^test accuracy: ([\d.]+)",
    "samples trained on": r"^trained on (\d+) samples",
    "optimizer steps": r"^trained on .* in (\d+) steps",
    "training seconds": r"^trained on .* steps, ([\d.]+) s",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", default="0.5")
    parser.add_argument("--output", default="sift-output")
    args = parser.parse_args()

    now = time.strftime("%H%M%S")
    arms = {"plain": ["--no-sift"], "sifted": ["--keep", args.keep]}
    jobs = {arm: f"digits-{arm}-{now}" for arm in arms}
    for arm, options in arms.items():
        options = [*options, "--name", jobs[arm], "--output", args.output]
        print(f"\n$ {shlex.join(['sift-launch', *options, SCRIPT])}", flush=True)
        code = subprocess.run([*LAUNCH, *options, SCRIPT], cwd=ROOT).returncode
        if code != 0:
            return code

    print_table({arm: read_figures(job) for arm, job in jobs.items()})
    print(f"\n$ sift-launch receipt {jobs['sifted']}", flush=True)
    return subprocess.run([*LAUNCH, "receipt", jobs["sifted"]], cwd=ROOT).returncode


def read_figures(job: str) -> dict[str, str]:
    """What the script printed about itself, from the job's log."""
    command = [*LAUNCH, "logs", job]
    log = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = {name: re.findall(pattern, log, re.MULTILINE) for name, pattern in FIGURES.items()}
    missing = [name for name, values in found.items() if not values]
    if missing:
        raise SystemExit(f"{job} printed no {missing[0]}: see sift-launch logs {job}")
    return {name: values[-1] for name, values in found.items()}


def print_table(figures: dict[str, dict[str, str]]) -> None:
    print(f"\n{'':<20}" + "".join(f"{arm:>10}" for arm in figures))
    for name in FIGURES:
        print(f"{name:<20}" + "".join(f"{values[name]:>10}" for values in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
