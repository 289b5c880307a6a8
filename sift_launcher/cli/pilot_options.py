"""The options of `sift-launch pilot`: its own, and those of a launch that say how a job runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from sift_launcher.cli import train_options
from sift_launcher.cli.train_options import flag, option
from sift_launcher.pilot.arms import DEFAULT_KEEP, Arm
from smart_sifting.sift_config.job_config import SiftConfig

# Of a launch, but not of a pilot: shares and metrics are given in the pilot's own way, one place
# for checkpoints would have an arm go on where another ended, and names are about one job.
_NOT_OURS = {"keep", "beta", "no_sift", "metric", "checkpoint", "tag", "name"}
_SIFTING = {"sift_delay", "sift_config", "loss"}


def _of_launch(section: str) -> tuple[click.Option, ...]:
    options = train_options.SECTIONS[section]
    return tuple(each for each in options if each.name not in _NOT_OURS)


LAUNCH_SECTIONS = {
    title: _of_launch(title) for title in ("Where it runs", "What goes in and comes out", "Sifting")
}
"""The options that the recommended command line has in common with the pilot's."""

_WITH = next(
    each for each in train_options.SECTIONS["This command"] if each.name == "profile_of_settings"
)

SECTIONS: dict[str, tuple[click.Option, ...]] = {
    "What is tried": (
        option(
            "--keep",
            "shares",
            default=DEFAULT_KEEP,
            show_default=True,
            metavar="SHARES",
            help="The shares of samples to try.",
        ),
        flag(
            "--control/--no-control",
            default=True,
            show_default=True,
            help="Try as many samples without a preference too, as fewer epochs would have them.",
        ),
        option(
            "--seeds",
            type=int,
            default=1,
            show_default=True,
            metavar="N",
            help="Run every arm so many times.",
        ),
        option(
            "--seed-argument",
            metavar="NAME",
            help="The script's argument that sets its seed, as --seed or seed=; it gets 0, 1, ...",
        ),
    ),
    "How it is judged": (
        option(
            "--metric",
            "expression",
            metavar="REGEX",
            help="Finds the figure in the script's log; the last match counts.  [default: the "
            "usual words are looked for, accuracy first]",
        ),
        flag("--lower-is-better", help="As of a loss."),
        option(
            "--tolerance",
            type=float,
            metavar="AMOUNT",
            help="By how much the figure may be worse than plain training's, in its own unit.  "
            "[default: 0.2 points, or one standard error if that is more]",
        ),
    ),
    **LAUNCH_SECTIONS,
    "This command": (
        option(
            "--name",
            help="The pilot's name, which its jobs' names begin with; a name that was used goes "
            "on with what has not run yet.  [default: the script's name and the time]",
        ),
        _WITH,
        flag("--json", "as_json", help="Print the results as JSON."),
    ),
}


def next_line(
    context: click.Context, script: str, arguments: Sequence[str], arm: Arm, base: SiftConfig
) -> str:
    """The command line that trains as `arm` did, with all else as it was typed for the pilot."""
    own: list[str] = []
    left_out: set[str] = set()
    if arm.kind == "plain":
        own, left_out = ["--no-sift"], _SIFTING
    elif arm.kind == "sifted":
        own = ["--keep", f"{arm.keep:g}"]
    else:
        changed = _changed(arm.config(base))
        own, left_out = ["--keep", f"{arm.keep:g}", "--sift-config", changed], _SIFTING
    options = [_WITH, *(each for section in LAUNCH_SECTIONS.values() for each in section)]
    for each in options:
        if each.name not in left_out:
            own += _typed(context, each)
    line = ["sift-launch", *own, script, *(["--", *arguments] if arguments else [])]
    return shlex.join(line)


def _typed(context: click.Context, known: click.Option) -> list[str]:
    name = known.name or ""
    if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
        return []
    value = context.params[name]
    values = value if known.multiple else [value]
    return [part for each in values for part in (max(known.opts, key=len), _as_typed(each))]


def _as_typed(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _changed(config: SiftConfig) -> str:
    """What of a configuration is not the default, as JSON; the share has an option of its own."""
    import json

    default = SiftConfig().to_dict()
    values = config.to_dict().items()
    return json.dumps({key: each for key, each in values if each != default[key] and key != "keep"})
