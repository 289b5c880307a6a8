"""The argument NAME of the commands about a job that is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def job_name(function: F) -> F:
    """Adds the argument; the shell completes it with the jobs there are."""
    return click.argument("name", shell_complete=_complete)(function)


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from sift_launcher.local.service import LocalTrainingService

    return [name for name in LocalTrainingService().names() if name.startswith(incomplete)]
