"""The argument NAME of the commands about a job that is there, and where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def job_name(function: F) -> F:
    """Adds the argument `name`, which the shell completes with the jobs there are, and the options
    `region` and `profile` of a job that was launched elsewhere."""
    return click.argument("name", shell_complete=_complete)(in_the_cloud(function))


def in_the_cloud(function: F) -> F:
    """Adds the options `region` and `profile`."""
    region = click.option("--region", help="Ask AWS, in this region.")
    profile = click.option("--profile", help="Ask AWS, with this profile's credentials.")
    return region(profile(function))


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from sift_launcher.jobs import names

    return [name for name in names() if name.startswith(incomplete)]
