"""What `.gitignore` files say of a path, as git reads them (git-scm.com/docs/gitignore).

A pattern is compiled to a regular expression once. Within a file the last pattern that matches
decides; a file further down decides before those above it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_FLAGS = re.DOTALL | re.ASCII
_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "\\x21-\\x7e",
    "lower": "a-z",
    "print": "\\x20-\\x7e",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\s",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


@dataclass(frozen=True)
class Rule:
    """One line of an ignore file."""

    expression: re.Pattern[str]
    is_path: bool
    """It is about the whole path below the file's folder, else about the name alone."""

    folders_only: bool
    keeps: bool
    """It begins with `!`: what it matches is not ignored."""

    stem: str
    """What it matches, up to the folder before its first wildcard."""

    is_open: bool
    """It has a wildcard."""

    def may_match_below(self, folder: str) -> bool:
        """Whether it speaks of something below `folder`, a path with a slash, by its place."""
        if self.stem.startswith(folder):
            return True
        return self.is_open and self.stem != "" and folder.startswith(self.stem)


class IgnoreFile:
    """The rules of one file, in their order."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(reversed(rules))
        # Most files are in no rule, which is found out in one step.
        self._names = _any_of(rule for rule in rules if not rule.is_path)
        self._paths = _any_of(rule for rule in rules if rule.is_path)

    def verdict(self, path: str, is_folder: bool) -> bool | None:
        """Whether `path`, from this file's folder on, is ignored; None: nothing is said of it."""
        path = _raw(path)
        name = path[path.rfind("/") + 1 :]
        if not self._names.fullmatch(name) and not self._paths.fullmatch(path):
            return None
        for rule in self._rules:
            if rule.folders_only and not is_folder:
                continue
            if rule.expression.fullmatch(path if rule.is_path else name):
                return not rule.keeps
        return None

    def keeps_below(self, folder: str) -> bool:
        """Whether something below `folder`, which is ignored, is brought back by its path."""
        inside = _raw(folder) + "/"
        return any(
            rule.keeps and rule.is_path and rule.may_match_below(inside) for rule in self._rules
        )


@dataclass(frozen=True)
class Ignored:
    """The ignore files of one name that count in a folder, those further down first."""

    _files: tuple[tuple[IgnoreFile, str, int], ...] = ()
    """Each with what stands before a path of the bundle where it lies, and how much of the path
    it does not see."""

    def above(self, file: IgnoreFile | None, prefix: str) -> Ignored:
        """With a file above the source folder, which is `prefix` from there, below all others."""
        return self if file is None else Ignored((*self._files, (file, prefix, 0)))

    def within(self, file: IgnoreFile | None, folder: str) -> Ignored:
        """With the file that lies in `folder`, a path with a slash at its end, or empty."""
        return self if file is None else Ignored(((file, "", len(folder)), *self._files))

    def verdict(self, path: str, is_folder: bool) -> bool | None:
        """Whether `path` is ignored; None: nothing is said of it."""
        for file, prefix, hidden in self._files:
            verdict = file.verdict(prefix + path[hidden:], is_folder)
            if verdict is not None:
                return verdict
        return None

    def keeps_below(self, path: str) -> bool:
        """Whether something below the folder `path`, which is ignored, is brought back."""
        return any(file.keeps_below(prefix + path[hidden:]) for file, prefix, hidden in self._files)


def read_rules(path: Path) -> IgnoreFile | None:
    """The rules in the file at `path`; None when it has none, or is not there."""
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    return parse_rules(raw.removeprefix(b"\xef\xbb\xbf").decode("latin-1").split("\n"))


def parse_rules(lines: Iterable[str]) -> IgnoreFile | None:
    """The rules in `lines`, whose characters stand for bytes; None when there are none."""
    rules = [rule for line in lines if (rule := _rule(line)) is not None]
    return IgnoreFile(rules) if rules else None


def _raw(path: str) -> str:
    """With a character for each byte, as git compares them."""
    return path if path.isascii() else os.fsencode(path).decode("latin-1")


def _any_of(rules: Iterable[Rule]) -> re.Pattern[str]:
    return re.compile("|".join(rule.expression.pattern for rule in rules) or "(?!)", _FLAGS)


def _rule(line: str) -> Rule | None:
    pattern = _without_trailing_spaces(line.removesuffix("\r"))
    if pattern.startswith("#"):
        return None
    keeps = pattern.startswith("!")
    pattern = pattern[keeps:]
    folders_only = pattern.endswith("/")
    pattern = pattern[: len(pattern) - folders_only]
    if not pattern:
        return None
    is_path = "/" in pattern
    pattern = pattern.removeprefix("/")
    expression = _expression(pattern, is_path)
    if expression is None:
        return None
    plain = re.split(r"[*?\[\\]", pattern, maxsplit=1)[0]
    is_open = plain != pattern
    stem = plain[: plain.rfind("/") + 1] if is_open else plain
    return Rule(re.compile(expression, _FLAGS), is_path, folders_only, keeps, stem, is_open)


def _without_trailing_spaces(line: str) -> str:
    stripped = line.rstrip(" ")
    escapes = len(stripped) - len(stripped.rstrip("\\"))
    # A backslash before the first of them keeps that one.
    return stripped + " " if escapes % 2 and stripped != line else stripped


def _expression(pattern: str, is_path: bool) -> str | None:
    """The regular expression of a pattern; None for one that git never matches."""
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            end = at
            while pattern[end : end + 1] == "*":
                end += 1
            part, at = _stars(pattern, at, end, is_path)
            parts.append(part)
        elif char == "?":
            parts.append("[^/]")
            at += 1
        elif char == "[":
            found = _bracket(pattern, at + 1)
            if found is None:
                return None
            part, at = found
            parts.append(part)
        elif char == "\\":
            if at + 1 == len(pattern):
                return None
            parts.append(re.escape(pattern[at + 1]))
            at += 2
        else:
            parts.append(re.escape(char))
            at += 1
    return "".join(parts)


def _stars(pattern: str, start: int, end: int, is_path: bool) -> tuple[str, int]:
    """Stars from `start` to `end`: two of them stand for folders where they stand alone."""
    alone = (start == 0 or pattern[start - 1] == "/") and pattern[end : end + 1] in ("", "/")
    if not (is_path and end - start > 1 and alone):
        return "[^/]*", end
    if end == len(pattern):
        return ".*", end
    return "(?:.*/)?", end + 1


def _bracket(pattern: str, at: int) -> tuple[str, int] | None:
    """The set of characters that begins at `at`, and where it ends; None when it never does."""
    negated = pattern[at : at + 1] in ("!", "^")
    at += negated
    items: list[str] = []
    first = True
    while at < len(pattern) and (first or pattern[at] != "]"):
        first = False
        if pattern.startswith("[:", at) and (end := pattern.find(":]", at + 2)) > 0:
            named = _CLASSES.get(pattern[at + 2 : end])
            if named is None:
                return None
            items.append(named)
            at = end + 2
            continue
        low, at = _literal(pattern, at)
        if pattern[at : at + 1] == "-" and pattern[at + 1 : at + 2] not in ("", "]"):
            high, at = _literal(pattern, at + 1)
            if low <= high:  # a range the wrong way round holds nothing
                items.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            items.append(re.escape(low))
    if at >= len(pattern):
        return None
    members = "".join(items)
    if negated:
        return f"[^/{members}]", at + 1
    return (f"(?!/)[{members}]" if members else "(?!)"), at + 1


def _literal(pattern: str, at: int) -> tuple[str, int]:
    if pattern[at] == "\\" and at + 1 < len(pattern):
        at += 1
    return pattern[at], at + 1
