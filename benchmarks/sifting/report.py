"""Writes down what was measured: a workload's JSON and picture, and the page of all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.sifting import picture
from benchmarks.sifting.arms import FAMILIES, arm
from benchmarks.sifting.page import page
from benchmarks.sifting.results import RESULTS, Result, metric_of, read_all, stem, table_of
from benchmarks.sifting.runner import this_machine, versions
from benchmarks.sifting.summary import Summary, summarize
from benchmarks.sifting.workloads import WORKLOADS

_SERIES = (
    ("plain: full, shortened", ("full", "shortened")),
    ("plain, random share", ("random",)),
    ("AWS's rule", ("aws",)),
    ("SelectiveBackprop", ("selective-backprop",)),
    ("InfoBatch", ("infobatch",)),
    ("ours, forward scoring", ("forward",)),
    ("ours, memory", ("memory", "auto")),
)


def result_of(
    name: str,
    size: str,
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    missing: Mapping[str, str],
    command: str,
    load_before: float,
    genuine: bool,
) -> dict[str, Any]:
    """What goes into a workload's file.

    `runs` are by arm, `missing` says why an arm was not had.
    """
    workload = WORKLOADS[name]
    names = sorted(runs, key=lambda each: (FAMILIES.index(arm(each).family), -arm(each).keep))
    return {
        "workload": name,
        "size": size,
        "title": workload.title,
        "metric": workload.metric.printed,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command,
        "machine": this_machine(),
        "load_before": load_before,
        "versions": versions(),
        "data": {"name": workload.data, "genuine": genuine},
        "options": dict(workload.options(size)),
        "missing": dict(missing),
        "arms": [_values(summarize(each, runs[each], workload.metric)) for each in names],
        "runs": {each: sorted(runs[each], key=lambda run: run["seed"]) for each in names},
    }


def write(result: Result, folder: Path = RESULTS) -> Path:
    """Writes a workload's JSON and picture, and the page of all of them anew."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem(result)}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    path.with_suffix(".svg").write_text(draw(result))
    (folder / "README.md").write_text(page(read_all(folder)))
    return path


def draw(result: Result) -> str:
    """The picture of a result."""
    table = table_of(result)
    metric = metric_of(result)
    series = []
    for label, families in _SERIES:
        arms = [each for each in table.arms if each.arm.family in families]
        dots = [picture.Dot(table.cost(a), a.score, a.error, _mark_of(a)) for a in arms]
        series.append(picture.Series(label, dots))
    runs = max(each.runs for each in table.arms)
    machine = result["machine"]
    where = machine["cpu"] if result["size"] == "cpu" else machine.get("gpu", "no GPU")
    return picture.draw(
        result["title"],
        f"{runs} seeds, bars are one standard error; {where}, {result['date'][:10]}; "
        f"numbers: % of the samples kept",
        "seconds of training" + (" (CPU time, one thread)" if result["size"] == "cpu" else ""),
        f"{metric.printed} ({metric.unit})",
        series,
    )


def _values(summary: Summary) -> dict[str, Any]:
    return {
        "arm": summary.arm.name,
        "label": summary.arm.label,
        "runs": summary.runs,
        "mean": round(summary.score, 4),
        "sd": round(summary.deviation, 4),
        "standard_error": round(summary.error, 4),
        "worst_class": None if summary.worst_class is None else round(summary.worst_class, 2),
        "samples": summary.samples,
        "forward_equivalents": summary.forwards,
        "loaded": summary.loaded,
        "seconds": round(summary.seconds, 2),
        "cpu_seconds": round(summary.cpu_seconds, 2),
        "tiers": list(summary.tiers),
    }


def _mark_of(summary: Summary) -> str:
    family = summary.arm.family
    if family in ("selective-backprop", "infobatch"):
        return ""
    return family if family in ("full", "auto") else f"{100 * summary.arm.keep:g}"
