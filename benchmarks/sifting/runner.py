"""Runs every arm of a workload as a job of its own and keeps what each of them found.

What has been measured is kept in the cache folder, by all that went into it, so a suite that was
interrupted goes on where it was, and one whose code has changed measures again what that touches.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import machine
from benchmarks.sifting.arms import Arm
from benchmarks.sifting.peer_code import PeerMissing, infobatch_folder
from benchmarks.sifting.workloads import SCRIPTS, Workload, script_arguments

Found = dict[str, Any]
"""What one job found: numbers by name, and the settings it ran under."""

ROOT = Path(__file__).parents[2]
LAUNCH = str(Path(sys.executable).with_name("sift-launch"))

_PRINTED = {
    "samples": r"^trained on (\d+) samples",
    "steps": r"^trained on \d+ samples in (\d+) steps",
    "seconds": r"^trained on .* steps, ([\d.]+) s",
    "cpu_seconds": r", ([\d.]+) s of CPU$",
    "loaded": r"^loaded (\d+) samples",
    "scored": r"^loaded \d+ samples, scored (\d+)",
    "last_lr": r"^learning rate at the end: ([\d.]+)",
    "worst_class": r"^worst class: ([\d.]+)",
}


class JobFailed(Exception):
    """A job did not end as it should; the text is its last words."""


@dataclass(frozen=True, eq=False)
class Job:
    """One workload trained in one way from one seed."""

    workload: Workload
    size: str
    arm: Arm
    seed: int
    data: Path

    @property
    def options(self) -> dict[str, object]:
        """The script's options."""
        options = {**self.workload.options(self.size), **self.arm.script, "seed": self.seed}
        options["epochs"] = round(float(str(options["epochs"])) * self.arm.epochs, 6)
        if self.size == "cpu":
            options["threads"] = 1
        return options

    def command(self, name: str, scratch: Path) -> list[str]:
        """The launch of this job. Raises ``PeerMissing`` where a peer's code is not to be had."""
        options = self.options
        if options.get("peer") == "infobatch":
            options["peer-code"] = infobatch_folder()
        where = ["--name", name, "--output", str(scratch / "output")]
        script = [str(SCRIPTS / self.workload.script), "--", *script_arguments(options)]
        return [*self.arm.launch, *where, "--data", f"train={self.data}", *script]

    def key(self) -> str:
        """Changes with everything that can change what the job finds."""
        parts = [
            self.workload.script,
            self.workload.data,
            str(self.data),
            sorted((name, str(value)) for name, value in self.options.items()),
            self.arm.launch,
            torch.__version__,
            this_machine(),
            _code_of(SCRIPTS),
            _code_of(ROOT / "container/smart_sifting") if self.arm.sifted else "",
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def run_all(
    jobs: Iterable[Job],
    kept: Path,
    at_once: int,
    fresh: bool = False,
    say: Callable[[str], None] = print,
) -> Iterator[tuple[Job, Found | str]]:
    """Runs jobs side by side, in their order, and yields each with what it found as it ends.

    What `kept` holds already is not run again, unless `fresh`. A job that fails, or whose peer is
    not to be had, yields the reason instead.
    """
    waiting = list(jobs)
    if not fresh:
        before = dict(recalled(waiting, kept))
        yield from before.items()
        waiting = [job for job in waiting if job not in before]
    with ThreadPoolExecutor(at_once) as pool:
        running = {pool.submit(_run_and_keep, job, kept): job for job in waiting}
        try:
            for number, ended in enumerate(as_completed(running), 1):
                job, result = running[ended], ended.result()
                say(f"{number}/{len(running)} {job.arm.name} seed {job.seed}: {_line(result)}")
                yield job, result
        finally:
            pool.shutdown(cancel_futures=True)


def recalled(jobs: Iterable[Job], kept: Path) -> Iterator[tuple[Job, Found]]:
    """The jobs that `kept` holds the results of, with these."""
    for job in jobs:
        path = kept / f"{job.key()}.json"
        if path.exists():
            yield job, json.loads(path.read_text())


def run(job: Job) -> Found:
    """Runs one job through the launcher. Raises ``JobFailed`` and ``PeerMissing``."""
    with tempfile.TemporaryDirectory() as scratch:
        home = {"SIFT_LAUNCHER_HOME": str(Path(scratch) / "home")}
        threads = {"OMP_NUM_THREADS": "1"} if job.size == "cpu" else {}
        env = os.environ | home | threads
        command = job.command("job", Path(scratch))
        started = datetime.now(timezone.utc)
        start = time.perf_counter()
        log = _launch(command, env)
        found: Found = {
            "seed": job.seed,
            "date": started.isoformat(timespec="seconds"),
            "command": _readable(shlex.join(["sift-launch", *command]), scratch),
            "job_seconds": round(time.perf_counter() - start, 2),
            **_numbers(log, job.workload),
        }
        if job.arm.sifted:
            receipt = json.loads(_launch(["receipt", "job", "--json"], env))
            parts = ("tier", "reason", "samples", "seconds", "notes")
            found["receipt"] = {part: receipt[part] for part in parts}
        return found


def versions() -> dict[str, str]:
    """Of what takes part."""
    packages = {each: version(each) for each in ("sift-launcher", "torch", "numpy")}
    return {"python": platform.python_version(), **packages}


def this_machine() -> dict[str, Any]:
    """The machine in words, its GPU among them where torch finds one."""
    gpu = {"gpu": torch.cuda.get_device_name(0)} if torch.cuda.is_available() else {}
    return machine() | gpu


def _run_and_keep(job: Job, kept: Path) -> Found | str:
    try:
        found = run(job)
    except (JobFailed, PeerMissing) as reason:
        return str(reason)
    kept.mkdir(parents=True, exist_ok=True)
    path = kept / f"{job.key()}.json"
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(found, indent=1) + "\n")
    partial.replace(path)
    return found


def _launch(arguments: list[str], env: Mapping[str, str]) -> str:
    result = subprocess.run([LAUNCH, *arguments], env=env, capture_output=True, text=True)
    if result.returncode != 0:
        words = (result.stdout + result.stderr).split("\n")
        raise JobFailed(next((line.strip() for line in reversed(words) if line.strip()), "no word"))
    return result.stdout


def _numbers(log: str, workload: Workload) -> dict[str, float]:
    metric = workload.metric
    patterns = {**_PRINTED, "metric": rf"^{metric.printed}: ([\d.]+)"}
    found = {}
    for name, pattern in patterns.items():
        values = re.findall(pattern, log, re.MULTILINE)
        if values:
            found[name] = float(values[-1])
    missing = {"metric", "samples", "cpu_seconds", "loaded"} - found.keys()
    if missing:
        raise JobFailed(f"the script did not print its {', '.join(sorted(missing))}")
    return found


def _readable(command: str, scratch: str) -> str:
    """The command without this machine's own folders."""
    for folder, name in ((scratch, "SCRATCH"), (f"{ROOT}/", ""), (str(Path.home()), "~")):
        command = command.replace(folder, name)
    return command


def _line(result: Found | str) -> str:
    if isinstance(result, str):
        return f"not had: {result}"
    return (
        f"{result['metric']:.4f}, {result['samples']:.0f} samples, {result['cpu_seconds']:.1f} s "
        f"of CPU, {result['job_seconds']:.1f} s in all"
    )


@cache
def _code_of(folder: Path) -> str:
    """A hash of a folder's Python code that comments and line breaks do not change."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\0".encode())
        digest.update(ast.dump(ast.parse(path.read_text())).encode())
    return digest.hexdigest()
