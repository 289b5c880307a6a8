"""How long it takes before a script runs: the help page, a job in process mode, the entrypoint."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Figure, Result, interleave, medians, time_command

LAUNCH = str(Path(sys.executable).with_name("sift-launch"))
ROUNDS = 15


def measure() -> Result:
    """All three, interleaved with a bare interpreter."""
    with tempfile.TemporaryDirectory() as scratch:
        return _measure(Path(scratch))


def _measure(scratch: Path) -> Result:
    source = scratch / "source"
    source.mkdir()
    script = source / "train.py"
    script.write_text("pass\n")
    env = os.environ | {"SIFT_LAUNCHER_HOME": str(scratch / "home")}
    output = ["--output", str(scratch / "output")]
    numbers = itertools.count()

    def job(*options: str) -> float:
        name = f"job-{next(numbers)}"
        command = [LAUNCH, *options, "--name", name, *output, str(script)]
        return time_command(command, env=env)

    def entrypoint() -> float:
        base = lay_out(scratch / f"ml-{next(numbers)}", script)
        return time_command(
            [sys.executable, "-m", "sift_entrypoint.train"],
            env=env | {"SAGEMAKER_BASE_DIR": str(base)},
        )

    samples = interleave(
        {
            "python -c pass": lambda: time_command([sys.executable, "-c", "pass"]),
            "python train.py": lambda: time_command([sys.executable, str(script)]),
            "sift-launch --help": lambda: time_command([LAUNCH, "--help"], env=env),
            "sift-launch train.py": job,
            "sift-launch --no-sift train.py": lambda: job("--no-sift"),
            "entrypoint, train.py": entrypoint,
        },
        rounds=ROUNDS,
    )
    median = medians(samples)

    def figure(arm: str, peer: str, claim: str, holds: bool) -> Figure:
        return Figure(arm, median[arm], "s", peer, median[peer], claim, holds, ROUNDS)

    bare, plain = "python -c pass", "python train.py"
    jobs = ("sift-launch train.py", "sift-launch --no-sift train.py")
    return Result(
        "startup",
        [
            figure(
                "sift-launch --help", bare, "at most 0.3 s", median["sift-launch --help"] <= 0.3
            ),
            *(
                figure(arm, plain, "adds at most 0.5 s", median[arm] - median[plain] <= 0.5)
                for arm in jobs
            ),
            figure(
                "entrypoint, train.py",
                plain,
                "adds at most 0.1 s",
                median["entrypoint, train.py"] - median[plain] <= 0.1,
            ),
        ],
        samples,
        ["`train.py` is one `pass`; the job lays out its tree, runs it and collects its outputs."],
    )


def lay_out(base: Path, script: Path, seen_at: str | None = None) -> Path:
    """The tree of a job that runs `script`, as a training service leaves it for the entrypoint.

    `seen_at`: where the job finds its code, when that is not where it lies here.
    """
    config = base / "input" / "config"
    config.mkdir(parents=True)
    code = base / "code"
    code.mkdir()
    shutil.copy(script, code)
    hyperparameters = {
        "sagemaker_program": json.dumps(script.name),
        "sagemaker_submit_directory": json.dumps(seen_at or str(code)),
    }
    resources = {
        "current_host": "algo-1",
        "hosts": ["algo-1"],
        "current_instance_type": "process",
        "network_interface_name": "lo",
    }
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    (config / "resourceconfig.json").write_text(json.dumps(resources))
    (config / "inputdataconfig.json").write_text("{}")
    return base
