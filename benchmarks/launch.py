"""How long a launch takes against AWS's stand-in, beside a bare script of the SDK's, and what many
jobs, files and lines take."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks.launch_lines import LINES_PER_SECOND, here, in_the_cloud
from benchmarks.launch_list import JOBS, jobs_here, jobs_in_the_cloud
from benchmarks.launch_server import ACCOUNT, BUCKET, ROLE, Server
from benchmarks.measure import Figure, Part, Result, interleave, medians, time_command
from sift_launcher.bundle import list_bundle, pack

COMMAND = [sys.executable, "-m", "sift_launcher"]
ROUNDS = 9
FILES = 10_000

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cu133-amzn2023-sagemaker"
# All that the estimator asks AWS for is said: what the command finds out, this script knows.
BARE = f"""
import sagemaker
from sagemaker.pytorch import PyTorch

PyTorch(
    "train.py",
    source_dir="source",
    role="arn:aws:iam::{ACCOUNT}:role/{ROLE}",
    image_uri="{IMAGE}",
    instance_type="ml.g5.xlarge",
    instance_count=1,
    debugger_hook_config=False,
    disable_profiler=True,
    sagemaker_session=sagemaker.Session(default_bucket="{BUCKET}"),
).fit(wait=False)
"""

IMPORT = """
import time
start = time.perf_counter()
import sagemaker.pytorch
print(time.perf_counter() - start)
"""


def measure() -> Result:
    """All of it, each beside its peer."""
    with tempfile.TemporaryDirectory() as scratch, Server() as server:
        folder = Path(scratch)
        parts = [
            _launches(folder / "launches", server),
            _bundles(folder / "bundles"),
            _lists(folder / "lists", server),
            _lines(folder / "lines", server),
        ]
    return Result(
        "launch",
        [figure for part in parts for figure in part.figures],
        {name: values for part in parts for name, values in part.samples.items()},
        [note for part in parts for note in part.notes],
        more_versions={name: version(name) for name in ("sagemaker", "boto3", "moto")},
    )


def _launches(folder: Path, server: Server) -> Part:
    source = folder / "source"
    source.mkdir(parents=True)
    (source / "train.py").write_text("pass\n")
    (folder / "bare.py").write_text(BARE)
    env = os.environ | server.environment | {"SIFT_LAUNCHER_HOME": str(folder / "home")}
    env["SAGEMAKER_SUPPRESS_V2_WARNING"] = "1"
    numbers = itertools.count()

    def options() -> list[str]:
        name = f"job-{next(numbers)}"
        places = ["--instance", "ml.g5.xlarge", "--role", ROLE, "--price", "1.408"]
        return [*COMMAND, "source/train.py", *places, "--name", name]

    before = Path.cwd()
    os.chdir(folder)
    try:
        samples = interleave(
            {
                "python -c pass": lambda: time_command([sys.executable, "-c", "pass"]),
                "import sagemaker.pytorch": lambda: _import_seconds(env),
                "plan": lambda: _first_byte([*options(), "--dry-run"], env),
                "sift-launch": lambda: server.launch([*options(), "--yes", "--no-wait"], env),
                "bare script": lambda: server.launch([sys.executable, "bare.py"], env),
            },
            rounds=ROUNDS,
        )
    finally:
        os.chdir(before)
    median = medians(samples)
    ours, bare = median["sift-launch"], median["bare script"]
    imported = median["import sagemaker.pytorch"]
    return Part(
        [
            Figure(
                "the plan on the screen, --instance ml.g5.xlarge",
                median["plan"],
                "s",
                "python -c pass",
                median["python -c pass"],
                "at most 0.7 s",
                median["plan"] <= 0.7,
                ROUNDS,
            ),
            Figure(
                "from the command to the accepted request",
                ours,
                "s",
                "the same through the SDK in a bare script",
                bare,
                "at most 1.05 times",
                ours <= 1.05 * bare,
                ROUNDS,
            ),
            Figure(
                "the SDK's import, of a bare script",
                imported,
                "s",
                "the script",
                bare,
                "",
                runs=ROUNDS,
            ),
        ],
        samples,
        [
            "A launch ends when the stand-in, a process of its own, has answered "
            "CreateTrainingJob. The command finds out account, role and image, and asks what "
            "SageMaker would refuse; the bare script is told all of it. The price is said "
            "(`--price`): a plan waits for one that it does not know for a second at most."
        ],
    )


def _import_seconds(env: dict[str, str]) -> float:
    told = subprocess.run(
        [sys.executable, "-c", IMPORT], check=True, env=env, capture_output=True, text=True
    )
    return float(told.stdout.split()[-1])


def _first_byte(command: list[str], env: dict[str, str]) -> float:
    start = time.perf_counter()
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        process.stdout.read(1)
        seconds = time.perf_counter() - start
        process.stdout.read()
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds


def _bundles(folder: Path) -> Part:
    for number in range(FILES):
        path = folder / f"source/package_{number % 100}/module_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"def function_{number}(x):\n    return x + {number}\n" * 5)
    (folder / "source/train.py").write_text("pass\n")
    numbers = itertools.count()

    def ours() -> None:
        bundle = list_bundle(folder / "source", "train.py")
        pack(bundle, folder / f"ours-{next(numbers)}.tar.gz")

    def sdk() -> None:
        # As sagemaker.utils.create_tar_file does it.
        with tarfile.open(folder / f"sdk-{next(numbers)}.tar.gz", "w:gz") as archive:
            for each in (folder / "source").iterdir():
                archive.add(each, each.name)

    def seconds(act: object) -> float:
        gc.collect()
        start = time.perf_counter()
        act()  # type: ignore[operator]
        return time.perf_counter() - start

    samples = interleave({"ours": lambda: seconds(ours), "SDK": lambda: seconds(sdk)}, rounds=5)
    median = medians(samples)
    return Part(
        [
            Figure(
                f"bundling {FILES:,} files: rules, secrets, archive",
                median["ours"],
                "s",
                "the SDK's archive of them",
                median["SDK"],
                "at most 1 s",
                median["ours"] <= 1.0,
                5,
            )
        ],
        {f"bundle, {name}": values for name, values in samples.items()},
    )


def _lists(folder: Path, server: Server) -> Part:
    arms = {
        "here": jobs_here(folder / "here"),
        "cloud": jobs_in_the_cloud(folder / "cloud", server),
    }
    samples = {name: [_list(env) for _ in range(5)] for name, env in arms.items()}
    figures = []
    for name, where in (("here", "of this machine"), ("cloud", "in SageMaker")):
        whole = medians({"": [each[0] for each in samples[name]]})[""]
        rest = medians({"": [each[1] for each in samples[name]]})[""]
        figures.append(
            Figure(
                f"sift-launch jobs over {JOBS:,} jobs {where}, after the first byte",
                rest,
                "s",
                "the whole command",
                whole,
                "at most 1 s",
                rest <= 1.0,
                5,
            )
        )
    return Part(
        figures,
        {f"jobs, {name}": [each[0] for each in values] for name, values in samples.items()},
    )


def _list(env: dict[str, str]) -> tuple[float, float]:
    """Seconds of the whole command, and of it those after its first byte."""
    start = time.perf_counter()
    with subprocess.Popen([*COMMAND, "jobs"], env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        process.stdout.read(1)
        first = time.perf_counter()
        count = process.stdout.read().count(b"\n")
        end = time.perf_counter()
    if count < JOBS:
        raise RuntimeError(f"{count} lines of {JOBS} jobs")
    return end - start, end - first


def _lines(folder: Path, server: Server) -> Part:
    followed = {"here": here(folder), "in SageMaker": in_the_cloud(server)}
    figures = [
        Figure(
            f"following {LINES_PER_SECOND:,} lines/s {where}: behind at the end",
            behind,
            "s",
            "lines lost",
            lost,
            "no line lost, at most 1 s behind",
            lost == 0 and behind <= 1.0,
        )
        for where, (behind, lost) in followed.items()
    ]
    return Part(figures, {})
