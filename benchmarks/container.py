"""Our image and local mode, beside the public toolkit's images and SDK v2's own local mode.

`make bench-container` says by BASE, IMAGE and TORCH what it has made; BENCH_ROUNDS sets how often
everything is measured (10).
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.container_image import image_size, rebuild
from benchmarks.container_logs import logs
from benchmarks.container_peers import (
    MODULE,
    TOOLKIT,
    build_peers,
    has_compose,
    python_of,
    sdk_job,
    sdk_python,
    version_of,
)
from benchmarks.measure import Figure, Part, Result, interleave, medians, time_command
from benchmarks.startup import LAUNCH, lay_out
from sift_launcher.engine import connect

if TYPE_CHECKING:
    from docker import DockerClient

ROOT = Path(__file__).parents[1]
BARE = "docker run python"
OURS = "sift-launch noop.py --instance local"
SDK = "SDK v2 local mode"
CONTAINER_CODE = "/opt/ml/code"


def measure() -> Result:
    """All of it, on one engine and one base."""
    base = os.environ.get("BASE", "sift-base:bookworm")
    image = os.environ.get("IMAGE", "sift-training:cpu")
    rounds = int(os.environ.get("BENCH_ROUNDS", "10"))
    engine = connect()
    wheelhouse = Path(
        subprocess.check_output(
            [ROOT / "container" / "wheelhouse"],
            env=os.environ | {"PYTHON": sys.executable},
            text=True,
        ).strip()
    )
    build_peers(engine, base, wheelhouse)
    # What root's containers leave behind is not the caller's to remove.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        parts = [
            first_line(scratch / "first", base, image, rounds),
            nothing(scratch / "nothing", engine, base, image, rounds),
            image_size(scratch / "size", engine, base, image, wheelhouse),
            rebuild(scratch / "rebuild", base, wheelhouse, rounds),
            logs(scratch / "logs", image, rounds),
        ]
    return Result(
        "container",
        [figure for part in parts for figure in part.figures],
        {name: values for part in parts for name, values in part.samples.items()},
        [note for part in parts for note in part.notes],
        more_versions=_versions(engine),
    )


def first_line(scratch: Path, base: str, image: str, rounds: int) -> Part:
    """From `docker run` to the first line of the job's script."""
    # Written at once: the toolkit takes what an unbuffered print() writes apart.
    script = _script(scratch, "import os, time\nos.write(1, b'started at %f\\n' % time.time())\n")
    trees = _trees(scratch, script)

    def start(image: str, *command: str) -> float:
        run = _docker_run(next(trees), image, *command)
        began = time.time()
        said = subprocess.run(
            run, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ).stdout
        found = re.search(r"started at (\S+)", said)
        if found is None:
            raise RuntimeError(f"the script did not run: {said[-500:]}")
        return float(found[1]) - began

    samples = interleave(
        {
            BARE: lambda: start(base, "python3", f"{CONTAINER_CODE}/{script.name}"),
            "our image": lambda: start(image, "train"),
            "toolkit": lambda: start(TOOLKIT, "train"),
            "PyTorch module": lambda: start(MODULE, "train"),
        },
        rounds,
    )
    over = medians(
        {
            arm: [mine - bare for mine, bare in zip(values, samples[BARE], strict=True)]
            for arm, values in samples.items()
        }
    )
    ours = over["our image"]
    return Part(
        [
            Figure(
                f"first line of the script, over `{BARE}`",
                ours,
                "s",
                peer,
                over[peer],
                "at most 0.1 s",
                ours <= 0.1,
                rounds,
            )
            for peer in ("toolkit", "PyTorch module")
        ],
        {f"first line: {arm}": values for arm, values in samples.items()},
        [
            f"- Every job runs the same tree below /opt/ml as root; `{BARE}` reaches the script's "
            f"first line after {medians(samples)[BARE]:.2f} s.",
            "- toolkit: `sagemaker-training` alone; PyTorch module: with "
            "`sagemaker-pytorch-training` as its framework module, as in AWS's images, but "
            "without the compiler that those call before every job.",
        ],
    )


def nothing(scratch: Path, engine: DockerClient, base: str, image: str, rounds: int) -> Part:
    """A job that does nothing, from the command to its exit."""
    script = _script(scratch, "pass\n")
    trees = _trees(scratch, script)
    numbers = itertools.count()
    env = os.environ | {"SIFT_LAUNCHER_HOME": str(scratch / "home")}
    output = ["--output", str(scratch / "output")]

    def launch() -> float:
        name = f"job-{next(numbers)}"
        options = ["--instance", "local", "--image", image, "--name", name, *output]
        return time_command([LAUNCH, *options, str(script)], env=env)

    def run(image: str, *command: str) -> Callable[[], float]:
        return lambda: time_command(_docker_run(next(trees), image, *command))

    arms = {
        BARE: run(base, "python3", f"{CONTAINER_CODE}/{script.name}"),
        OURS: launch,
        "docker run, toolkit": run(TOOLKIT, "train"),
        "docker run, PyTorch module": run(MODULE, "train"),
    }
    notes = []
    if has_compose():
        arms[SDK] = sdk_job(engine, scratch / "sdk", script)
        notes.append(
            f"- {SDK}: import, session and `fit` in an interpreter of its own, on the image with "
            "the PyTorch module."
        )
    else:
        notes.append(f"- {SDK} was not measured: it needs docker-compose, which is not here.")
    samples = interleave(arms, rounds)
    median = medians(samples)
    ours = median[OURS]

    def beside(peer: str, claim: str = "", holds: bool | None = None) -> Figure:
        return Figure(
            f"a job that does nothing: `{OURS}`",
            ours,
            "s",
            peer,
            median[peer],
            claim,
            holds,
            rounds,
        )

    module = "docker run, PyTorch module"
    peers = [arm for arm in arms if arm not in (OURS, module)]
    return Part(
        [
            beside(module, "at most 1/3", ours <= median[module] / 3),
            *(beside(peer) for peer in peers),
        ],
        {f"nothing: {arm}": values for arm, values in samples.items()},
        notes,
    )


def _docker_run(tree: Path, image: str, *command: str) -> list[str]:
    # Its own name must resolve, or the toolkit asks for it again and again.
    options = ["--rm", "--hostname", "algo-1", "--volume", f"{tree}:/opt/ml"]
    return ["docker", "run", *options, image, *command]


def _script(scratch: Path, text: str) -> Path:
    script = scratch / "source" / "noop.py"
    script.parent.mkdir(parents=True)
    script.write_text(text)
    return script


def _trees(scratch: Path, script: Path) -> Iterator[Path]:
    """A fresh tree at every call."""
    return (
        lay_out(scratch / f"ml-{number}", script, CONTAINER_CODE) for number in itertools.count()
    )


def _versions(engine: DockerClient) -> dict[str, str]:
    found = {
        "Docker engine": engine.version()["Version"],
        **{
            package: version_of(python_of(MODULE), package)
            for package in ("sagemaker-training", "sagemaker-pytorch-training")
        },
    }
    if has_compose():
        found["sagemaker"] = version_of([sdk_python()], "sagemaker")
    return found
