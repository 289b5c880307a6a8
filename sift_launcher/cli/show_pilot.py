"""A pilot on the screen: a line a run on stderr, the table and the recommendation on stdout."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from sift_launcher.console import print_table, say
from sift_launcher.pilot.arms import Trial
from sift_launcher.pilot.metric import Metric
from sift_launcher.pilot.report import Report
from sift_launcher.pilot.results import Measurement, shown

_WIDTH = 100


def say_begin(name: str, script: str, runs: int) -> None:
    """What is about to happen, and how it is ended."""
    say(
        f"pilot {name}: {runs} runs of {script} on this machine, one after the other; Ctrl-C stops "
        f"it, and the same line with --name {name} goes on"
    )


def say_run(number: int, runs: int, trial: Trial, measurement: Measurement, metric: Metric) -> None:
    """What one run came to, and with the first how its figure was found."""
    say(
        f"{number}/{runs} {trial.label}: {metric.name} {shown(measurement.metric)}, "
        f"{measurement.samples} samples in {measurement.seconds:.2f} s"
    )
    if number > 1 or not metric.is_usual:
        return
    say(f"{metric.name} is read off {measurement.line!r}; --metric REGEX names another figure")
    if metric.caution is not None:
        say(metric.caution)


def say_left_out(number: int, runs: int, trial: Trial) -> None:
    """That a control would be the same run once more."""
    say(
        f"{number}/{runs} {trial.label}: left out, for the share before it had no preference either"
    )


def show(report: Report, folder: Path, as_json: bool) -> None:
    """The results so far, and what they recommend once they are complete."""
    if as_json:
        sys.stdout.write(report.to_json())
        return
    columns, rows = report.rows()
    print_table(columns, rows)
    advice = report.recommendation
    if advice is None:
        return
    told = textwrap.fill(advice.text, _WIDTH)
    notes = [textwrap.fill(f"note: {note}", _WIDTH) for note in advice.notes]
    lines = ["", told, *notes, "", f"  {report.command}", "", f"picture: {folder / 'pilot.svg'}"]
    sys.stdout.write("\n".join(lines) + "\n")
