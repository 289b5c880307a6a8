"""Results of the workloads as their files hold them, and the table that each of them makes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import RESULTS as ALL_RESULTS
from benchmarks.sifting.summary import Table, summarize
from benchmarks.sifting.workloads import ACCURACY, BITS, WORKLOADS, Metric

RESULTS = ALL_RESULTS / "sifting"

Result = Mapping[str, Any]
"""A workload's results: the runs of each arm, and what they were made on and with."""


def read_all(folder: Path = RESULTS) -> list[Result]:
    """The results in a folder, in the order of the workloads."""
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    order = list(WORKLOADS)
    return sorted(found, key=lambda each: (each["size"], order.index(each["workload"])))


def stem(result: Result) -> str:
    """The name of a workload's files without its ending."""
    return str(result["workload"]) + ("" if result["size"] == "cpu" else f"-{result['size']}")


def table_of(result: Result, cost: str | None = None) -> Table:
    """The arms of a result. `cost` is what comparisons go by: by default the CPU's seconds for a
    size that a CPU core trains alone, for they do not depend on what else runs there."""
    metric = metric_of(result)
    arms = [summarize(name, runs, metric) for name, runs in result["runs"].items() if runs]
    by = cost or ("cpu_seconds" if result["size"] == "cpu" else "seconds")
    return Table(arms, metric.better, lambda each: getattr(each, by))


def metric_of(result: Result) -> Metric:
    """The metric that a result was measured by."""
    return next(each for each in (ACCURACY, BITS) if each.printed == result["metric"])
