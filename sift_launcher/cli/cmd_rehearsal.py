"""`sift-launch rehearsal`: AWS played on this machine, open to every client."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sift_launcher.rehearsal.endpoint import Endpoint


@click.group(
    "rehearsal",
    help="Serve a rehearsal: AWS's APIs on this machine, with a SageMaker that runs its training "
    "jobs here. --rehearse starts one by itself.",
)
def command() -> None:
    """The commands about the rehearsal of this state folder."""


@command.command("serve", help="Serve until Ctrl-C, SIGTERM, or sift-launch rehearsal stop.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: a free one.")
@click.option(
    "--on",
    "runs",
    type=click.Choice(["process", "local"]),
    default="process",
    show_default=True,
    help="What plays an instance: a process, or a container.",
)
@click.option(
    "--idle",
    "idle_seconds",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    help="End after so long without a request or a running job. Default: never.",
)
def serve_command(port: int, runs: str, idle_seconds: float | None) -> None:
    """Serves in the foreground; the first line on stdout says where."""
    from sift_launcher.console import say
    from sift_launcher.rehearsal.server import serve

    def announce(endpoint: Endpoint) -> None:
        sys.stdout.write(f"{endpoint.url}\n")
        sys.stdout.flush()
        say('a shell uses it after eval "$(sift-launch rehearsal env)"')

    serve(runs, port, idle_seconds, announce)


@command.command("stop", help="End the rehearsal: its jobs, objects and logs go with it.")
def stop_command() -> None:
    """Ends the server and returns when it is gone."""
    from sift_launcher.console import say
    from sift_launcher.rehearsal.start import stop_server

    say("the rehearsal has ended" if stop_server() else "there is no rehearsal to end")


@command.command("status", help="Show whether a rehearsal answers, and where.")
def status_command() -> None:
    """Shows the server; the exit code is 1 when there is none."""
    from sift_launcher.console import print_facts

    endpoint = _running()
    print_facts(
        "rehearsal", [("endpoint", endpoint.url), ("region", endpoint.environment["AWS_REGION"])]
    )


@command.command("env", help="Print the shell's lines that lead AWS's clients to the rehearsal.")
def env_command() -> None:
    """Prints them, for `eval`."""
    from sift_launcher.rehearsal.endpoint import in_the_way

    endpoint = _running()
    for name in in_the_way(os.environ):
        if name not in endpoint.environment:
            sys.stdout.write(f"unset {name}\n")
    for name, value in endpoint.environment.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")


def _running() -> Endpoint:
    from sift_launcher.errors import RehearsalError
    from sift_launcher.rehearsal.start import running

    endpoint = running()
    if endpoint is None:
        raise RehearsalError("no rehearsal answers: sift-launch rehearsal serve starts one")
    return endpoint
