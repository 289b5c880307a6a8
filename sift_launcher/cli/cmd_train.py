"""`sift-launch [OPTIONS] SCRIPT [-- SCRIPT ARGS]`: launch a training job."""

from __future__ import annotations

from typing import Any

import click

from sift_launcher.cli.root import Root, complete_first_word, meant_subcommand
from sift_launcher.cli.train_options import SECTIONS
from sift_launcher.errors import ScriptError

HELP = """Train SCRIPT as a managed job, on only the samples that teach it something.

The script is a Python (.py) or shell (.sh) training script that needs to know nothing of this
command. It runs in a copy of its folder, finds its data in SM_CHANNEL_<NAME> and leaves its model
in SM_MODEL_DIR, here as in SageMaker. What follows -- reaches it exactly as typed.

A script that has the name of a command below is reached with its path, as in ./jobs.
"""


@click.pass_context
def run(context: click.Context, /, script: str, surplus: tuple[str, ...], **typed: Any) -> None:
    """Makes the specification of what was typed, plans it, and prints or runs the plan."""
    from sift_launcher.cli.project_settings import with_settings
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
    values = with_settings(context, script, typed, context.command.params)
    spec = to_spec(script, context.obj, values)
    check_rehearsal(values)  # first: it needs more than a job in the cloud, and says so at once
    check(spec)
    if is_cloud(spec.instance):
        from sift_launcher.cli.train_in_cloud import train_in_cloud

        train_in_cloud(spec, values)
    else:
        from sift_launcher.cli.train_here import train_here

        train_here(spec, values)


command = Root(
    "sift-launch",
    SECTIONS,
    callback=run,
    params=[
        click.Argument(["script"], shell_complete=complete_first_word),
        click.Argument(["surplus"], nargs=-1, metavar="[-- SCRIPT ARGS]"),
    ],
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
