"""`sift-launch completion SHELL`: the script that completes the command's line."""

from __future__ import annotations

import sys

import click

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    help='Print the completion script of SHELL; in bash: eval "$(sift-launch completion bash)".',
)
@click.argument("shell", type=click.Choice(_SHELLS))
def command(shell: str) -> None:
    """Prints click's own script for `shell`."""
    from click.shell_completion import get_completion_class

    from sift_launcher.cli.cmd_train import command as root

    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"no completion for {shell}: one of {', '.join(_SHELLS)}")
    script = completion(root, {}, "sift-launch", "_SIFT_LAUNCH_COMPLETE").source()
    sys.stdout.write(script + "\n")
