"""The results as a markdown page, and as the lines that a README may claim."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.sifting.results import Result, metric_of, stem, table_of
from benchmarks.sifting.summary import SHORTENED, Comparison, Summary, Table
from benchmarks.sifting.workloads import ACCURACY, BITS

_COLUMNS = {
    "full": "full training",
    "memory-0.5": "ours, memory",
    "forward-0.5": "ours, forward",
    "shortened-0.5": "plain, shortened",
    "random-0.5": "plain, random share",
    "aws-0.5": "AWS's rule",
    "selective-backprop": "SelectiveBackprop",
    "infobatch": "InfoBatch",
}
_KINDS = {
    "memory": "ours, memory",
    "auto": "ours, keep auto",
    "forward": "ours, forward",
    "shortened": "plain, shortened",
    "random": "plain, random share",
    "aws": "AWS's rule",
    "selective-backprop": "SelectiveBackprop",
    "infobatch": "InfoBatch",
}
_TIERS = {"memory": "memory", "auto": "memory", "forward": "forward", "aws": "forward"}


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
        "- *beside plain, shortened*: plain training whose length was chosen to cost the same,",
        "  also where a shorter one did better; straight lines between the lengths measured.",
        "- *beside a peer*: our arms and full training, interpolated, where the peer stands.",
        "- SelectiveBackprop is our own code after Composer's documentation, with its defaults:",
        "  `mosaicml` 0.32.1 asks for torch before 2.7.1 and does not install beside this one.",
        "- InfoBatch is its authors' package, fetched and run beside, with its defaults.",
        '- AWS\'s rule runs in our runtime (`acceptance` "probabilistic"); its loader had no true',
        "  length, so the script's schedule stays as long as without it.",
    ]
    if results:
        lines += ["", "## At half of the samples", "", *_overview(results)]
        lines += ["", "The score, and the part of full training's time that it took."]
        lines += ["", "## Saved at full training's result", "", *_savings(results)]
        lines += [
            "",
            "The forward-equivalents that the cheapest arm of each kind saved, of those that ended",
            f"no more than {ACCURACY.tolerance:g} points ({BITS.tolerance:g} {BITS.unit}) worse",
            "than full training; and how much better it ended.",
        ]
    for result in results:
        lines += ["", *_section(result)]
    return "\n".join(lines) + "\n"


def claims(results: Sequence[Result]) -> list[str]:
    """What the README may say: a row a workload, each with the command that measures it, and how
    often we were no worse than others. By forward-equivalents, in which no load of the machine is.
    """
    lines = [
        "| workload | full training | `--keep auto` | `--keep 0.5` | plain, shortened to half "
        "| saved at full training's result | measured by |",
        "|---|---|---|---|---|---|---|",
    ]
    found: list[Comparison] = []
    for result in results:
        table = table_of(result, "forwards")
        found += table.comparisons()
        arms = [table.get(name) for name in ("full", "auto", "memory-0.5", "shortened-0.5")]
        cells = [_cell(each, table, result) if each else "" for each in arms]
        command = f"`{result['command']}`, {result['date'][:10]}"
        cells += [_saved_at_full(table, result, "memory", "auto"), command]
        lines.append(f"| {_title(result)} | {' | '.join(cells)} |")
    lines.append("")
    for who, chosen in (
        ("plain training shortened to the same cost", [c for c in found if c.other == SHORTENED]),
        ("a peer at the same cost", [c for c in found if c.other != SHORTENED]),
    ):
        held = sum(each.holds for each in chosen)
        lines.append(f"- No worse than {who}, within one standard error: {held} of {len(chosen)}.")
    return lines


def _overview(results: Sequence[Result]) -> list[str]:
    """What the arms came to where a share of a half was asked for: the score, and the part of
    full training's time that it took."""
    lines = [
        f"| workload | {' | '.join(_COLUMNS.values())} |",
        "|---" * (1 + len(_COLUMNS)) + "|",
    ]
    for result in results:
        table = table_of(result)
        arms = [table.get(name) for name in _COLUMNS]
        cells = [_cell(each, table, result) if each else "" for each in arms]
        lines.append(f"| {_title(result)} | {' | '.join(cells)} |")
    return lines


def _savings(results: Sequence[Result]) -> list[str]:
    lines = [
        f"| workload | {' | '.join(_KINDS.values())} |",
        "|---" * (1 + len(_KINDS)) + "|",
    ]
    for result in results:
        table = table_of(result, "forwards")
        cells = [_saved_at_full(table, result, family) for family in _KINDS]
        lines.append(f"| {_title(result)} | {' | '.join(cells)} |")
    return lines


def _saved_at_full(table: Table, result: Result, *families: str) -> str:
    metric, full = metric_of(result), table.get("full")
    best = table.as_good_as_full(families, metric.tolerance)
    if full is None or best is None:
        return "none"
    saved = 1 - table.cost(best) / table.cost(full)
    lead = table.point(best).score - table.point(full).score
    return f"{100 * saved:.0f} % ({lead:+.{metric.digits}f})"


def _cell(summary: Summary, table: Table, result: Result) -> str:
    full = table.get("full")
    time = f" ({_share(table.cost(summary), table.cost(full))})" if full else ""
    return f"{summary.score:.{metric_of(result).digits}f}{time}"


def _title(result: Result) -> str:
    return str(result["title"]) + ("" if result["size"] == "cpu" else " (full size)")


def _section(result: Result) -> list[str]:
    table = table_of(result)
    metric = metric_of(result)
    where = result["machine"]
    names = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    options = ", ".join(f"{name} {_plain(value)}" for name, value in result["options"].items())
    lines = [
        f"## {_title(result)}",
        "",
        f"{result['date'][:10]}, {where['cores']} cores ({where['cpu']})"
        f"{', ' + where['gpu'] if 'gpu' in where else ''}, load "
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
    return [*lines, "", *_verdicts(result)]


def _row(summary: Summary, table: Table, result: Result) -> str:
    full = table.get("full")
    label = summary.arm.label
    wanted = _TIERS.get(summary.arm.family)
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
        _share(table.cost(summary), table.cost(full)) if full else "",
        *(
            "" if summary.arm.family in ("full", "shortened") else _saving(by, summary)
            for by in (table, table_of(result, "forwards"))
        ),
    ]
    return f"| {' | '.join(cells)} |"


def _verdicts(result: Result) -> list[str]:
    """One line a comparison, by the time that was measured and by the forward-equivalents, which
    do not depend on what else the machine did."""
    digits = metric_of(result).digits
    said: dict[tuple[str, str], list[str]] = {}
    for by, table in (
        ("time", table_of(result)),
        ("forward-equivalents", table_of(result, "forwards")),
    ):
        for each in table.comparisons():
            said.setdefault((each.ours, each.other), []).append(
                f"{each.lead:+.{digits}f} ± {each.error:.{digits}f} at "
                f"{'no more' if each.costs_as_full else 'equal'} {by} ({_verdict(each)})"
            )
    return [f"- {ours} beside {other}: {'; '.join(words)}" for (ours, other), words in said.items()]


def _verdict(each: Comparison) -> str:
    if each.lead > each.error:
        return "better"
    return "equal" if each.holds else "**worse**"


def _score(summary: Summary, result: Result) -> str:
    digits = metric_of(result).digits
    return f"{summary.score:.{digits}f} ± {summary.error:.{digits}f}"


def _saving(table: Table, summary: Summary) -> str:
    saved = table.saved(summary)
    if saved is None:
        return "the shortest plain run does better"
    return f"{'≥ ' if saved.at_least else ''}{100 * saved.share:.0f} %"


def _count(value: float, whole: float | None) -> str:
    return f"{value:,.0f}" + (f" ({_share(value, whole)})" if whole else "")


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %"


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
