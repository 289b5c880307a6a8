"""How the command talks: words of its own on stderr, results and the job's log on stdout.

Rich draws the tables and is imported only for them. The live log is not drawn by it: what a
script prints reaches the user byte for byte, and the status line below it is two escape codes.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from rich.table import Table

_CLEAR_LINE = b"\r\x1b[2K"


def say(text: str) -> None:
    """One line of the launcher's own, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def say_error(text: str) -> None:
    """One red line on stderr."""
    say(f"\x1b[31m{text}\x1b[0m" if _has_colour() else text)


def print_columns(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A long table on stdout, at once; columns named `...:` are numbers, aligned to the right.

    By hand: rich takes a millisecond for a row.
    """
    names = [column.removesuffix(":") for column in columns]
    widths = [max(map(len, cells)) for cells in zip(names, *rows, strict=True)]
    form = "  ".join(
        f"{{:{'>' if name != column else '<'}{width}}}"
        for name, column, width in zip(names, columns, widths, strict=True)
    )
    lines = [names, ["-" * width for width in widths], *rows]
    sys.stdout.write("".join(form.format(*line).rstrip() + "\n" for line in lines))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; columns named `...:` are numbers, aligned to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        name = column.removesuffix(":")
        table.add_column(name, justify="right" if name != column else "left", overflow="fold")
    _print(table, rows)


def print_facts(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Names and values on stdout, one a line, under a title."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, title=title, title_justify="left")
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    _print(table, rows)


def _print(table: Table, rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.text import Text

    for row in rows:
        # As text: what looks like markup in a reason or a path is none.
        table.add_row(*map(Text, row))
    # Into a pipe the table is as wide as it wants: nothing is cut for a width nobody has.
    width = None if sys.stdout.isatty() else 200
    Console(highlight=False, width=width).print(table)


class LiveLog:
    """The job's log on a stream, with a status line below it when that is a terminal."""

    def __init__(self, stream: BinaryIO, is_terminal: bool) -> None:
        self._stream = stream
        self._is_terminal = is_terminal
        self._at_line_start = True
        self._drawn = b""

    def __enter__(self) -> LiveLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not isinstance(error, BrokenPipeError):
            self.show("")

    def write(self, content: bytes) -> None:
        """Adds `content` to the log, byte for byte."""
        if not content:
            return
        status = self._drawn
        self._erase()
        self._stream.write(content)
        self._at_line_start = content.endswith(b"\n")
        self._draw(status)
        self._stream.flush()

    def say(self, text: str) -> None:
        """One line of the launcher's own, on stderr; the status line makes room for it."""
        self.show("")
        say(text)

    def show(self, status: str) -> None:
        """Replaces the status line; an empty one is none."""
        if not self._is_terminal:
            return
        columns = shutil.get_terminal_size().columns
        line = status[: columns - 1].encode("utf-8", errors="replace")
        if line == self._drawn:
            return
        self._erase()
        self._draw(line)
        self._stream.flush()

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(_CLEAR_LINE)
            self._drawn = b""

    def _draw(self, status: bytes) -> None:
        # Half a line, such as a progress bar's, is never written over.
        if status and self._at_line_start:
            self._stream.write(b"\x1b[2m" + status + b"\x1b[0m")
            self._drawn = status


class StatusLine(LiveLog):
    """The status line alone: the log stays where the job keeps it."""

    def write(self, content: bytes) -> None:
        """Passes over the log."""


def _has_colour() -> bool:
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ
