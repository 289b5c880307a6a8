"""The results of the workloads as files: JSON, a picture each, one page, and the claims."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.measure import RESULTS as ALL_RESULTS
from benchmarks.measure import machine
from benchmarks.sifting import picture
from benchmarks.sifting.arms import FAMILIES, OURS, arm
from benchmarks.sifting.runner import versions
from benchmarks.sifting.summary import SHORTENED, Comparison, Summary, Table, summarize
from benchmarks.sifting.workloads import ACCURACY, BITS, WORKLOADS, Metric

RESULTS = ALL_RESULTS / "sifting"

Result = Mapping[str, Any]
"""A workload's results as its file holds them."""

_SERIES = (
    ("plain: full, shortened", ("full", "shortened")),
    ("plain, random share", ("random",)),
    ("AWS's rule", ("aws",)),
    ("SelectiveBackprop", ("selective-backprop",)),
    ("InfoBatch", ("infobatch",)),
    ("ours, forward scoring", ("forward",)),
    ("ours, memory", ("memory",)),
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
        "machine": machine(),
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
    where = result["machine"]["cpu"] if result["size"] == "cpu" else "one GPU"
    return picture.draw(
        result["title"],
        f"{runs} seeds, bars are one standard error; {where}, {result['date'][:10]}; "
        f"numbers: % of the samples kept",
        "seconds of training" + (" (CPU time, one thread)" if result["size"] == "cpu" else ""),
        f"{metric.printed} ({metric.unit})",
        series,
    )


def page(results: Sequence[Result]) -> str:
    """All results as one markdown page."""
    lines = [
        "# Sifting, measured",
        "",
        "Every arm runs the same script from the same seeds, interleaved, in jobs of their own",
        "through `sift-launch`. `make bench-sifting` and `make bench-sifting-full` write this",
        "page, `ARGS='cifar10 --arms full,memory-0.5 --seeds 0,1'` narrows them.",
        "",
        "- *plain, shortened* is the control that counts: fewer epochs, the schedule fitted.",
        "- *forward-equivalents*: 1 for a sample that is scored, 3 for one that is trained on.",
        "- *saved at equal result*: against the shortened plain training that is as good,",
        "  interpolated between those measured; ≥ where none was as good.",
        "- SelectiveBackprop is our own code after Composer's documentation, with its defaults:",
        "  `mosaicml` 0.32.1 asks for torch before 2.7.1 and does not install beside this one.",
        "- InfoBatch is its authors' package, fetched and run beside, with its defaults.",
        '- AWS\'s rule runs in our runtime (`acceptance` "probabilistic"); its loader had no true',
        "  length, so the script's schedule stays as long as without it.",
    ]
    for result in results:
        lines += ["", *_section(result)]
    return "\n".join(lines) + "\n"


def claims(results: Sequence[Result]) -> list[str]:
    """One line a workload and arm of ours, each with the command that measures it, and one on all
    comparisons."""
    lines = []
    found: list[Comparison] = []
    for result in results:
        table = table_of(result)
        found += table.comparisons()
        full = table.get("full")
        lines += [
            f"- {result['title']}, {each.arm.label}: {_score(each, result)} "
            f"{metric_of(result).unit} in {100 * table.cost(each) / table.cost(full):.0f} % of "
            f"full training's time (full: {_score(full, result)}); saved at equal result: "
            f"{_saving(table, each)} (`{result['command']}`, {result['date'][:10]})"
            for each in table.arms
            if full and each.arm.family in OURS
        ]
    for who, chosen in (
        ("plain training shortened to the same time", [c for c in found if c.other == SHORTENED]),
        ("a peer in the same time", [c for c in found if c.other != SHORTENED]),
    ):
        held = sum(each.holds for each in chosen)
        lines.append(f"- No worse than {who}, within one standard error: {held} of {len(chosen)}.")
    return lines


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
    return "full" if family == "full" else f"{100 * summary.arm.keep:g}"


def _section(result: Result) -> list[str]:
    table = table_of(result)
    metric = metric_of(result)
    where = result["machine"]
    names = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    options = ", ".join(f"{name} {_plain(value)}" for name, value in result["options"].items())
    lines = [
        f"## {result['title']}" + ("" if result["size"] == "cpu" else " (full size)"),
        "",
        f"{result['date'][:10]}, {where['cores']} cores ({where['cpu']}), load "
        f"{result['load_before']} before it began, {names}: `{result['command']}`",
        "",
        f"{options}." + ("" if result["data"]["genuine"] else " **Not the genuine data.**"),
        "",
        f"![{result['title']}]({stem(result)}.svg)",
        "",
        f"| arm | {metric.printed}, {metric.unit} | sd | worst class | runs | samples "
        "| forward-equivalents | loaded | seconds | CPU seconds | of full "
        "| saved at equal result | the same in forward-equivalents |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(_row(each, table, result) for each in table.arms),
    ]
    for name, reason in result["missing"].items():
        lines += ["", f"Not had: {name}: {reason}"]
    return [*lines, "", *_verdicts(table, metric)]


def _row(summary: Summary, table: Table, result: Result) -> str:
    full = table.get("full")
    label = summary.arm.label
    wanted = {"memory": "memory", "forward": "forward", "aws": "forward"}.get(summary.arm.family)
    if wanted and summary.tiers != (wanted,):
        label += f" (**tier {', '.join(summary.tiers)}**)"
    cells = [
        label,
        _score(summary, result),
        f"{summary.deviation:.{metric_of(result).digits}f}",
        "" if summary.worst_class is None else f"{summary.worst_class:.1f}",
        str(summary.runs),
        _count(summary.samples, full.samples if full else None),
        _count(summary.forwards, full.forwards if full else None),
        _count(summary.loaded, full.loaded if full else None),
        f"{summary.seconds:.1f}",
        f"{summary.cpu_seconds:.1f}",
        "" if full is None else f"{100 * table.cost(summary) / table.cost(full):.0f} %",
        *(
            "" if summary.arm.family in ("full", "shortened") else _saving(by, summary)
            for by in (table, table_of(result, "forwards"))
        ),
    ]
    return f"| {' | '.join(cells)} |"


def _verdicts(table: Table, metric: Metric) -> list[str]:
    lines = []
    for each in table.comparisons():
        who = "better" if each.lead > each.error else "equal" if each.holds else "**worse**"
        cost = "which costs as much as full training" if each.costs_as_full else "at equal time"
        lines.append(
            f"- {each.ours} beside {each.other}, {cost}: "
            f"{each.lead:+.{metric.digits}f} ± {each.error:.{metric.digits}f} ({who})"
        )
    return lines


def _score(summary: Summary, result: Result) -> str:
    digits = metric_of(result).digits
    return f"{summary.score:.{digits}f} ± {summary.error:.{digits}f}"


def _saving(table: Table, summary: Summary) -> str:
    saved = table.saved(summary)
    if saved is None:
        return "worse than the shortest plain run"
    return f"{'≥ ' if saved.at_least else ''}{100 * saved.share:.0f} %"


def _count(value: float, whole: float | None) -> str:
    share = f" ({100 * value / whole:.0f} %)" if whole else ""
    return f"{value:,.0f}{share}"


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
