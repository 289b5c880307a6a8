"""The command `sift-launch`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sift_launcher.errors import JobInterrupted, SiftLaunchError, WrongCall

if TYPE_CHECKING:
    import click


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and exits: 0, 1 (the job failed), 2 (a wrong call), 130 (interrupted).

    A user's error is one red line. Of an error of our own, the line names the file that holds
    the traceback.
    """
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Runs the command; its exit code."""
    import click

    from sift_launcher.cli.cmd_train import command
    from sift_launcher.console import say_error

    try:
        code = command.main(arguments, prog_name="sift-launch", standalone_mode=False)
        sys.stdout.flush()  # here, where a reader that has gone is no surprise
    except SiftLaunchError as error:
        say_error(f"{error}")
        return error.exit_code
    except click.NoSuchOption as error:
        say_error(f"no such option: {error.option_name}{_instead(error)}")
        return WrongCall.exit_code
    except click.UsageError as error:
        say_error(" ".join(f"{error.format_message()} (sift-launch --help)".split()))
        return WrongCall.exit_code
    except (click.Abort, KeyboardInterrupt):
        return JobInterrupted.exit_code
    except BrokenPipeError:
        _let_go_of_stdout()
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort: our own defect, kept in a file
        say_error(_report(error))
        return 1
    return code or 0


def _instead(error: click.NoSuchOption) -> str:
    from difflib import get_close_matches

    if near := get_close_matches(error.option_name, error.possibilities or (), cutoff=0.7):
        return f"; did you mean {' or '.join(near)}?"
    return "; what the script should get goes after --"


def _let_go_of_stdout() -> None:
    """Whoever read our output has gone: the interpreter must not try to flush to it at exit."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: Exception) -> str:
    import traceback
    from datetime import datetime

    from sift_launcher.paths import state_folder

    text = "".join(traceback.format_exception(error))
    told = f"sift-launch broke ({type(error).__name__}: {' '.join(str(error).split())})"
    path = state_folder() / "crashes" / f"{datetime.now():%Y%m%d-%H%M%S-%f}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as unwritable:
        return f"{told}; the traceback cannot be kept in {path.parent}: {unwritable.strerror}"
    return f"{told}: a defect of ours; the traceback is in {path}"
