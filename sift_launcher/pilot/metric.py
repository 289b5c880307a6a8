"""The figure that a script's log ends with. Pure.

A script says how good it has become in words of its own. Either the user gives the expression, or
the usual words are looked for, in that order, those about held-out data first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sift_launcher.errors import MetricNotFound, OptionError

EXAMPLE = "--metric 'test accuracy: ([0-9.]+)'"

_NUMBER = r"(?:[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|nan|[-+]?inf)"
# Quotes, brackets, colons and the bars of tables may stand between a word and its figure.
_BETWEEN = r"(?![a-z0-9])[\"')\]]*\s*(?:[:=|│]|is\b|of\b)?\s*[\"'(\[]?"
_HELD_OUT = r"(?<![a-z])(?:test|val(?:id(?:ation)?)?|eval(?:uation)?|dev)[\s_/.-]*"
# The figure of training batches says nothing: those of a sifted job are the hard ones.
_BARE = r"(?<![a-z])(?<!train[\s_/.-])(?<!training[\s_/.-])"
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LINES = re.compile(r"[\r\n]+")
_BARE_LOSS = (
    "if that is the loss of training batches, it cannot be compared, for sifted jobs train on the "
    f"hard samples: name a figure of held-out data, as in {EXAMPLE}"
)


@dataclass(frozen=True)
class Word:
    """A usual word for a metric."""

    name: str
    pattern: str
    lower_is_better: bool = False


WORDS = (
    Word("accuracy", "accuracy"),
    Word("acc", "acc(?:@1)?"),
    Word("top-1", "top-?1"),
    Word("f1", "f1(?:[-_ ]?score)?"),
    Word("auc", "(?:roc[-_ ]?)?auc"),
    Word("perplexity", "(?:perplexity|ppl)", lower_is_better=True),
    Word("loss", "loss", lower_is_better=True),
)


@dataclass(frozen=True)
class Found:
    """A figure, and the line of the log that it stands in."""

    value: float
    line: str


@dataclass(frozen=True)
class Metric:
    """How a metric is read off a log: the last match of `pattern` counts."""

    name: str
    pattern: re.Pattern[str]
    lower_is_better: bool = False
    is_usual: bool = False
    """Whether it was found by its word, and nobody asked for it."""

    caution: str | None = None
    """What the user should know of it."""

    def last(self, log: str) -> Found | None:
        """The last figure of a log; None when there is none. Raises OptionError when what the
        expression takes out of a line is no number."""
        matches = [match for line in _lines(log) for match in self.pattern.finditer(line)]
        if not matches:
            return None
        return Found(_value(matches[-1], self.is_usual), matches[-1].string.strip())


def asked_for(expression: str, *, lower_is_better: bool, name: str | None = None) -> Metric:
    """The metric of a regular expression, whose first group is the figure. Raises OptionError."""
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise OptionError(
            f"--metric {expression!r} is no regular expression ({error}): write it as {EXAMPLE}"
        ) from error
    if pattern.groups == 0:
        raise OptionError(
            f"--metric {expression!r} has no group: put the figure in parentheses, as in {EXAMPLE}"
        )
    return Metric(name or _name(expression), pattern, lower_is_better)


def usual(log: str) -> Metric:
    """The first of the usual words that has a figure in `log`. Raises MetricNotFound."""
    for word in WORDS:
        for before in (_HELD_OUT, _BARE):
            metric = _of_word(word, before)
            if metric.last(log) is not None:
                return metric
    words = ", ".join(word.name for word in WORDS)
    raise MetricNotFound(
        f"its log has no figure by a usual name ({words}): say how to read it, as in {EXAMPLE}"
    )


def missing(metric: Metric) -> MetricNotFound:
    """The error of a log that `metric` is not in."""
    expression = metric.pattern.pattern
    name, equals, rest = expression.partition("=")
    hint = ""
    if equals and name.isidentifier() and "(" in rest:
        hint = f"; here the expression stands alone, as in --metric {rest!r}"
    return MetricNotFound(f"no line of its log matches --metric {expression!r}{hint}")


def _of_word(word: Word, before: str) -> Metric:
    pattern = rf"{before}{word.pattern}{_BETWEEN}({_NUMBER})(?:/(\d+))?"
    caution = _BARE_LOSS if word.name == "loss" and before == _BARE else None
    compiled = re.compile(pattern, re.IGNORECASE)
    return Metric(word.name, compiled, word.lower_is_better, True, caution)


def _lines(log: str) -> list[str]:
    """The script's own, without colours; a progress bar's states are lines of their own."""
    lines = _LINES.split(_COLOURS.sub("", log))
    return [line for line in lines if not line.startswith("sift: ")]


def _value(match: re.Match[str], is_usual: bool) -> float:
    try:
        value = float(match[1])
    except (TypeError, ValueError):  # a group that took no part in the match is None
        raise OptionError(
            f"--metric {match.re.pattern!r} takes {match[1]!r} out of {match.string.strip()!r}, "
            f"which is no number: put the figure alone in parentheses, as in {EXAMPLE}"
        ) from None
    # 9905/10000, as a count of hits is printed.
    return value / float(match[2]) if is_usual and match[2] and float(match[2]) else value


def _name(expression: str) -> str:
    """The words of an expression before its figure: `test accuracy`."""
    words = re.sub(r"\\.[*+?]?|[^\w\s@/-]", " ", expression.partition("(")[0])
    return " ".join(words.split()) or "metric"
