"""A pilot in full: as data, as a table, and as the files in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sift_launcher.errors import OutputError
from sift_launcher.pilot.arms import PLAIN, Trial
from sift_launcher.pilot.metric import Metric
from sift_launcher.pilot.picture import draw_svg
from sift_launcher.pilot.recommend import Recommendation
from sift_launcher.pilot.results import Measurement, Result, Yardstick, results, shown

SCHEMA = 1


@dataclass(frozen=True)
class Report:
    """What a pilot has come to so far."""

    name: str
    script: str
    arguments: tuple[str, ...]
    metric: Metric
    yardstick: Yardstick
    measurements: Mapping[Trial, Measurement]
    recommendation: Recommendation | None = None
    """None: not all of its trials have run."""

    command: str | None = None
    """The command line that follows the recommendation."""

    @property
    def results(self) -> list[Result]:
        """Arm by arm, plain first."""
        return list(results(self.measurements))

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values; figures that are not finite are null."""
        advice = self.recommendation
        return {
            "schema": SCHEMA,
            "name": self.name,
            "script": self.script,
            "arguments": list(self.arguments),
            "metric": {
                "name": self.metric.name,
                "regex": None if self.metric.is_usual else self.metric.pattern.pattern,
                "lower_is_better": self.yardstick.lower_is_better,
                "tolerance": self._tolerance(),
            },
            "arms": [_arm(result) for result in self.results],
            "recommendation": advice
            and {
                "arm": advice.arm.label,
                "kind": advice.arm.kind,
                "keep": advice.arm.keep,
                "text": advice.text,
                "notes": list(advice.notes),
                "command": self.command,
            },
        }

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """The table's columns, numbers marked by a colon, and its rows."""
        columns = ["arm", "tier", "samples:", "seconds:", f"{self.metric.name}:"]
        plain = next((each for each in self.results if each.arm == PLAIN), None)
        columns += ["against plain:", "time:"]
        return columns, [self._row(result, plain) for result in self.results]

    def write(self, folder: Path) -> None:
        """Writes `pilot.json` and `pilot.svg`. Raises OutputError."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "pilot.json").write_text(self.to_json(), "utf-8")
            (folder / "pilot.svg").write_text(self.to_svg(), "utf-8")
        except OSError as error:
            raise OutputError(
                f"cannot write the pilot's results to {folder} ({error.strerror}): make room "
                "there, and the same line with the same --name writes them"
            ) from error

    def to_json(self) -> str:
        """The report as the text of a JSON file."""
        return json.dumps(_finite(self.to_dict()), indent=2, allow_nan=False) + "\n"

    def to_svg(self) -> str:
        """The picture of all arms."""
        advice = self.recommendation
        title = f"{self.name}: {advice.headline if advice else 'not finished'}"
        arm = advice.arm if advice else None
        drawn = [result for result in self.results if result.is_as_meant]
        return draw_svg(drawn, self.yardstick, self.metric.name, arm, title)

    def _tolerance(self) -> float | None:
        plain = next((each for each in self.results if each.arm == PLAIN), None)
        return None if plain is None else self.yardstick.allowed(plain, plain)

    def _row(self, result: Result, plain: Result | None) -> list[str]:
        error = result.standard_error
        figure = shown(result.metric) + (f" ± {shown(error)}" if error is not None else "")
        row = [
            result.arm.label,
            result.tier if result.arm != PLAIN else "",
            f"{result.samples:.0f}",
            f"{result.seconds:.2f}",
            figure,
        ]
        if plain is None or result is plain or result.arm == PLAIN:
            return [*row, "", ""]
        difference = result.metric - plain.metric
        sign = "+" if difference >= 0 else "-"
        time = result.seconds / plain.seconds - 1 if plain.seconds > 0 else 0.0
        return [*row, f"{sign}{shown(abs(difference))}", f"{time:+.0%}"]


def _arm(result: Result) -> dict[str, Any]:
    return {
        "arm": result.arm.label,
        "kind": result.arm.kind,
        "keep": result.arm.keep,
        "samples": result.samples,
        "seconds": result.seconds,
        "metric": result.metric,
        "standard_error": result.standard_error,
        "runs": [asdict(run) for run in result.runs],
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value
