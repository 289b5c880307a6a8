"""`sift-launch [OPTIONS] SCRIPT [-- SCRIPT ARGS]`: launch a training job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from sift_launcher.cli.root import Root, complete_first_word, meant_subcommand
from sift_launcher.cli.train_options import SECTIONS
from sift_launcher.errors import ScriptError, SettingsFileError
from sift_launcher.paths import absolute

HELP = """Train SCRIPT as a managed job, on only the samples that teach it something.

The script is a Python (.py) or shell (.sh) training script that needs to know nothing of this
command. It runs in a copy of its folder, finds its data in SM_CHANNEL_<NAME> and leaves its model
in SM_MODEL_DIR, here as in SageMaker. What follows -- reaches it exactly as typed.

A script that has the name of a command below is reached with its path, as in ./jobs.
"""


@click.pass_context
def run(context: click.Context, /, script: str, surplus: tuple[str, ...], **typed: Any) -> None:
    """Makes the specification of what was typed, plans it, and prints or runs the plan."""
    from sift_launcher.cli.rehearsal_options import check_rehearsal
    from sift_launcher.cli.to_spec import to_spec
    from sift_launcher.instances import is_cloud
    from sift_launcher.plan import check

    if surplus:
        raise click.UsageError(
            f"unexpected {surplus[0]!r}: what the script should get goes after --"
        )
    if (meant := meant_subcommand(script)) is not None:
        raise ScriptError(f"no such script: {script} (did you mean sift-launch {meant}?)")
    values = _with_settings(context, script, typed)
    spec = to_spec(script, context.obj, values)
    check_rehearsal(values)  # first: it needs more than a job in the cloud, and says so at once
    check(spec)
    if is_cloud(spec.instance):
        from sift_launcher.cli.train_in_cloud import train_in_cloud

        train_in_cloud(spec, values)
    else:
        from sift_launcher.cli.train_here import train_here

        train_here(spec, values)


def _with_settings(context: click.Context, script: str, typed: dict[str, Any]) -> dict[str, Any]:
    from sift_launcher.cli.settings_file import (
        Settings,
        apply_settings,
        find_settings,
        read_settings,
    )
    from sift_launcher.cli.to_spec import parse_pairs

    def is_typed(name: str) -> bool:
        return context.get_parameter_source(name) is ParameterSource.COMMANDLINE

    profile = typed["profile_of_settings"]
    path = find_settings(_folder_of(script, typed["source_dir"]))
    if path is None and profile is not None:
        raise SettingsFileError(
            f"--with {profile}: there is no sift.toml for {script}; sift-launch init writes one"
        )
    options = [each for each in context.command.params if isinstance(each, click.Option)]
    settings = read_settings(path, options, profile) if path else Settings()
    return apply_settings(settings, parse_pairs(typed), is_typed)


def _folder_of(script: str, source_dir: str | None) -> Path:
    """Where the script lies; as the SDK has it, it may be named from within the source folder."""
    place = Path(script)
    if source_dir is not None and not place.exists():
        place = Path(source_dir) / script
    return absolute(place).parent


command = Root(
    SECTIONS,
    callback=run,
    params=[
        click.Argument(["script"], shell_complete=complete_first_word),
        click.Argument(["surplus"], nargs=-1, metavar="[-- SCRIPT ARGS]"),
    ],
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
