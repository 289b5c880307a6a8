"""How `sift-launch` tells a script from a subcommand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import click

# Imported when they are called: a launch does not wait for what it does not use.
_SUBCOMMANDS = {
    "pilot": "Try several shares of the samples in short runs, and recommend one.",
    "jobs": "List the jobs, newest first.",
    "status": "Show what became of a job.",
    "logs": "Print a job's log.",
    "stop": "Stop a job; its outputs are kept.",
    "receipt": "Show what sifting did in a job, and what it saved.",
    "download": "Bring a job's model and outputs into a folder.",
    "rehearsal": "Play SageMaker on this machine: rehearsal serve, status, env, stop.",
    "doctor": "Look whether a job could run here, and what mends it.",
    "init": "Write a sift.toml, which holds defaults for all these options.",
    "build": "Build a training image.",
    "image": "Show what is in a training image: image inspect NAME.",
    "completion": "Print the shell's completion script.",
}


class ScriptCommand(click.Command):
    """A command that runs a script: what follows `--` is the script's, left in the context's `obj`,
    and the options are shown in sections."""

    def __init__(
        self, name: str, sections: Mapping[str, Sequence[click.Option]], **settings: Any
    ) -> None:
        """`sections` of options, by the titles that the help shows them under."""
        self._sections = sections
        settings["params"] = [*settings["params"], *chain.from_iterable(sections.values())]
        super().__init__(name, **settings)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Cuts the line at the first `--`; what follows is the script's, untouched."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        cut = args.index("--") if "--" in args else len(args)
        ctx.obj = tuple(args[cut + 1 :])
        return super().parse_args(ctx, args[:cut])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, by what they are about."""
        last, help_option = list(self._sections)[-1], self.get_help_option(ctx)
        for title, options in self._sections.items():
            shown = [*options, help_option] if title == last and help_option else options
            with formatter.section(title):
                records = [option.get_help_record(ctx) for option in shown]
                formatter.write_dl([record for record in records if record is not None])


class Root(ScriptCommand):
    """The launching command, which hands over to a subcommand named by the first argument.

    Not a click.Group: the script's name stands where a group wants a subcommand's, and options
    may stand on either side of it. A script named as a subcommand is reached as `./jobs`.
    """

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """The context of this command, or of the subcommand that the arguments begin with."""
        if args and args[0] in _SUBCOMMANDS:
            name = f"{info_name} {args[0]}"
            return subcommand(args[0]).make_context(name, args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs whichever command the context is of."""
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The subcommands, in the help after the options."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_SUBCOMMANDS.items()))


def complete_first_word(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Completes what may stand where the script's name does: a file or a subcommand."""
    from click.shell_completion import CompletionItem

    # The file comes first: in bash that item clears what was before it.
    items = [CompletionItem(incomplete, type="file")]
    for name, text in _SUBCOMMANDS.items():
        if name.startswith(incomplete):
            items.append(CompletionItem(name, help=text))
    return items


def meant_subcommand(script: str) -> str | None:
    """The subcommand that was probably meant by what stands where the script's name does."""
    if Path(script).suffix or Path(script).exists():
        return None
    from difflib import get_close_matches

    return next(iter(get_close_matches(script, _SUBCOMMANDS, n=1)), None)


def subcommand(name: str) -> click.Command:
    """The command `name`, one module each."""
    command: click.Command = import_module(f"sift_launcher.cli.cmd_{name}").command
    return command
