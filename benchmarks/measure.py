"""Interleaved runs, medians, and the page they are written to."""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One measured claim: a median, its peer's median in the same run, and what was promised."""

    what: str
    value: float
    unit: str
    peer: str
    peer_value: float
    claim: str
    """In words, such as "adds at most 0.5 s"; empty when nothing is promised."""

    holds: bool | None = None
    """Whether the claim holds; None when nothing is promised."""

    runs: int = 1

    @property
    def ratio(self) -> float | None:
        """`value` in units of its peer; None where that one is nothing."""
        return round(self.value / self.peer_value, 4) if self.peer_value else None


@dataclass(frozen=True)
class Part:
    """Some of a benchmark's figures, with what they were made of."""

    figures: list[Figure]
    samples: Mapping[str, Sequence[float]]
    notes: Sequence[str] = ()


@dataclass
class Result:
    """What one benchmark found."""

    name: str
    figures: list[Figure]
    samples: Mapping[str, Sequence[Any]]
    """The single measurements by arm, in the order they were taken."""

    notes: list[str] = field(default_factory=list)
    load_before: float = 0.0
    """The machine's load average before it began: 0 where nothing else ran."""

    more_versions: Mapping[str, str] = field(default_factory=dict)
    """Of what only this benchmark has to do with."""

    def write(self) -> Path:
        """Writes `results/<name>.json` and draws the page of all results anew."""
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.name}.json"
        content = {
            "name": self.name,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": shlex.join(["python", "benchmarks/run.py", *sys.argv[1:]]),
            "machine": machine(),
            "load_before": self.load_before,
            "versions": versions() | dict(self.more_versions),
            "figures": [{**asdict(f), "ratio": f.ratio} for f in self.figures],
            "notes": self.notes,
            "samples": dict(self.samples),
        }
        path.write_text(json.dumps(content, indent=1) + "\n")
        (RESULTS / "README.md").write_text(page())
        return path


def interleave(
    arms: Mapping[str, Callable[[], float]], rounds: int, warmups: int = 1
) -> dict[str, list[float]]:
    """Calls every arm once a round, so that whatever else the machine does hits all alike."""
    for _ in range(warmups):
        for arm in arms.values():
            arm()
    measured: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, arm in arms.items():
            measured[name].append(round(arm(), 5))
    return measured


def medians(measured: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of every arm."""
    return {name: round(statistics.median(values), 5) for name, values in measured.items()}


def time_command(command: Sequence[str], **options: Any) -> float:
    """Wall seconds of one command, which must succeed."""
    start = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    )
    return time.perf_counter() - start


def machine() -> dict[str, Any]:
    """The machine in words."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return {"cores": os.cpu_count(), "cpu": model, "system": platform.system()}


def versions() -> dict[str, str]:
    """Versions of what was measured, as far as it is installed."""
    found = {"python": platform.python_version()}
    for package in ("sift-launcher", "torch", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def page() -> str:
    """All results as one markdown page."""
    lines = [
        "# Measured",
        "",
        "Medians of interleaved runs; every figure stands beside its peer in the same run.",
        "`make bench`, `bench-memory`, `bench-scoring`, `bench-container` and `bench-launch` write "
        "this page; what sifting reaches beside its peers is on [a page of its own]"
        "(sifting/README.md).",
    ]
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text())
        where = result["machine"]
        lines += [
            "",
            f"## {result['name']}",
            "",
            f"{result['date'][:10]}, {where['cores']} cores ({where['cpu']}), "
            f"load {result['load_before']} before it began, "
            + ", ".join(f"{name} {number}" for name, number in result["versions"].items())
            + f": `{result['command']}`",
            "",
            "| what | measured | beside | its figure | ratio | runs | claim | holds |",
            "|---|---|---|---|---|---|---|---|",
            *(row(figure) for figure in result["figures"]),
        ]
        if result["notes"]:
            lines += ["", *result["notes"]]
    return "\n".join(lines) + "\n"


def row(figure: Mapping[str, Any]) -> str:
    """One line of the table."""
    holds = {None: "", True: "yes", False: "**no**"}[figure["holds"]]
    unit = figure["unit"]
    cells = [
        figure["what"],
        f"{figure['value']:,.4g} {unit}".strip(),
        figure["peer"],
        f"{figure['peer_value']:,.4g} {unit}".strip(),
        "" if figure["ratio"] is None else f"{figure['ratio']:.3f}",
        str(figure["runs"]),
        figure["claim"],
        holds,
    ]
    return f"| {' | '.join(cells)} |"
