"""The picture of a pilot: what every arm cost, and what it came to, as SVG.

No scripts, no fonts from elsewhere: the file is the whole picture, on paper of its own, so that it
reads the same on a light page and on a dark one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from sift_launcher.pilot.arms import Arm
from sift_launcher.pilot.results import Result, Yardstick

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 84, 724, 104, 392
INK, MUTED, GRID, PAPER, BAND = "#1f2933", "#616e7c", "#e4e7eb", "#ffffff", "#eef2f5"
_ROOM = 80  # for a label beside its mark
FONT = "font-family='system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'"


@dataclass(frozen=True)
class Series:
    """How the arms of one kind are drawn. `side`: where a label stands beside its mark, -1 is left
    and 1 is right, so that labels of neighbours keep out of each other's way."""

    title: str
    colour: str
    side: int


SERIES = {
    "plain": Series("plain", "#1f2933", 0),
    "sifted": Series("by preference", "#0b69a3", -1),
    "even": Series("spread evenly", "#b44d12", 1),
}


def draw_svg(
    results: Sequence[Result], yardstick: Yardstick, metric: str, advised: Arm | None, title: str
) -> str:
    """The picture as the text of an SVG file, 760 by 460; the `advised` arm wears a ring.

    Arms whose metric is not finite are left out, and the picture says so.
    """
    drawn = [result for result in results if math.isfinite(result.metric)]
    frame = _Frame.around(drawn, yardstick)
    is_lower = yardstick.lower_is_better
    better, side = ("lower is better", 1) if is_lower else ("higher is better", -1)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{HEIGHT}' "
        f"viewBox='0 0 {WIDTH} {HEIGHT}' role='img' {FONT}>",
        f"<title>{escape(title)}</title>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='{PAPER}'/>",
        _text(LEFT, 34, title, size=18, weight=600),
        _text(LEFT, 56, f"{metric} ({better})", size=13, colour=MUTED),
        *_legend(drawn, len(results) - len(drawn)),
        *_plain_band(drawn, yardstick, frame),
        *_axes(frame),
        *[part for kind in SERIES for part in _series(kind, drawn, frame, advised, side)],
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


@dataclass(frozen=True)
class _Frame:
    """Where figures lie on the paper."""

    seconds: tuple[float, ...]
    figures: tuple[float, ...]

    @classmethod
    def around(cls, results: Sequence[Result], yardstick: Yardstick) -> _Frame:
        """Axes that hold all results with their errors, and what plain training allows."""
        figures = [
            figure
            for each in results
            for error in (each.standard_error or 0.0,)
            for figure in (each.metric - error, each.metric + error)
        ]
        plain = _plain(results)
        if plain is not None:
            figures += _allowed(plain, yardstick)
        longest = max((each.seconds for each in results), default=1.0)
        return cls(_ticks(0, longest), _ticks(min(figures, default=0.0), max(figures, default=1.0)))

    def x(self, seconds: float) -> float:
        return LEFT + (RIGHT - LEFT) * _part(seconds, self.seconds)

    def y(self, figure: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * _part(figure, self.figures)


def _plain(results: Sequence[Result]) -> Result | None:
    return next((each for each in results if each.arm.kind == "plain"), None)


def _allowed(plain: Result, yardstick: Yardstick) -> tuple[float, float]:
    """Plain training's metric, and the worst that is as good."""
    allowed = yardstick.allowed(plain, plain)
    return plain.metric, plain.metric + (allowed if yardstick.lower_is_better else -allowed)


def _legend(results: Sequence[Result], left_out: int) -> list[str]:
    parts, x = [], float(LEFT)
    for kind, series in SERIES.items():
        if any(each.arm.kind == kind for each in results):
            parts.append(_mark(kind, x + 5, 78))
            parts.append(_text(x + 16, 82, series.title, size=12, colour=series.colour))
            x += 40 + 7 * len(series.title)
    if left_out:
        word = "arm" if left_out == 1 else "arms"
        told = f"{left_out} {word} without a finite figure left out"
        parts.append(_text(RIGHT, 82, told, size=12, colour=MUTED, anchor="end"))
    return parts


def _plain_band(results: Sequence[Result], yardstick: Yardstick, frame: _Frame) -> list[str]:
    plain = _plain(results)
    if plain is None:
        return []
    level, worst = (frame.y(figure) for figure in _allowed(plain, yardstick))
    top, height = min(level, worst), abs(level - worst)
    below = worst > level
    return [
        f"<rect x='{LEFT}' y='{top:.1f}' width='{RIGHT - LEFT}' height='{height:.1f}' "
        f"fill='{BAND}'/>",
        _line(LEFT, level, RIGHT, level, MUTED, "stroke-dasharray='4 4'"),
        _text(LEFT + 6, worst + (14 if below else -6), "as good as plain", size=11, colour=MUTED),
    ]


def _axes(frame: _Frame) -> list[str]:
    parts = []
    for tick in frame.figures:
        parts.append(_line(LEFT, frame.y(tick), RIGHT, frame.y(tick), GRID))
        parts.append(_text(LEFT - 8, frame.y(tick) + 4, f"{tick:.6g}", size=12, anchor="end"))
    for tick in frame.seconds:
        parts.append(_text(frame.x(tick), BOTTOM + 20, f"{tick:.6g}", size=12, anchor="middle"))
    middle = (LEFT + RIGHT) / 2
    told = "seconds of training"
    return [*parts, _text(middle, BOTTOM + 44, told, size=12, colour=MUTED, anchor="middle")]


def _series(
    kind: str, results: Sequence[Result], frame: _Frame, advised: Arm | None, better: int
) -> list[str]:
    """The arms of a kind by their share, joined by a line that ends in plain training."""
    series = SERIES[kind]
    arms = sorted(
        (each for each in results if each.arm.kind in (kind, "plain")),
        key=lambda each: each.arm.keep,
    )
    own = [each for each in arms if each.arm.kind == kind]
    parts = []
    if len(arms) > 1 and own:
        path = " ".join(f"{frame.x(each.seconds):.1f},{frame.y(each.metric):.1f}" for each in arms)
        parts.append(
            f"<polyline points='{path}' fill='none' stroke='{series.colour}' stroke-width='1.5' "
            "stroke-opacity='0.55' stroke-linejoin='round'/>"
        )
    for each in own:
        x, y = frame.x(each.seconds), frame.y(each.metric)
        if error := each.standard_error:
            low, high = frame.y(each.metric - error), frame.y(each.metric + error)
            parts.append(_line(x, low, x, high, series.colour, "stroke-width='1.5'"))
        parts.append(_mark(kind, x, y))
        if each.arm == advised:
            parts.append(
                f"<circle cx='{x:.1f}' cy='{y:.1f}' r='10' fill='none' stroke='{series.colour}' "
                "stroke-width='2'/>"
            )
        parts.append(_label(each.arm, x, y, better))
    return parts


def _label(arm: Arm, x: float, y: float, better: int) -> str:
    """The arm's name beside its mark, within the paper; plain training's where it is better, and
    the paper empty."""
    series = SERIES[arm.kind]
    if series.side == 0:
        return _text(
            x, y + 4 + 18 * better, arm.label, size=12, colour=series.colour, anchor="middle"
        )
    side = series.side if LEFT + _ROOM < x < RIGHT - _ROOM else (1 if x <= LEFT + _ROOM else -1)
    anchor = "start" if side > 0 else "end"
    return _text(
        x + 14 * side,
        y + 4 + 7 * series.side,
        arm.label,
        size=12,
        colour=series.colour,
        anchor=anchor,
    )


def _mark(kind: str, x: float, y: float) -> str:
    """Kinds differ in shape too: not everybody tells colours apart."""
    colour = SERIES[kind].colour
    if kind == "sifted":
        return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='5' fill='{colour}'/>"
    turn = f" transform='rotate(45 {x:.1f} {y:.1f})'" if kind == "plain" else ""
    return f"<rect x='{x - 4.5:.1f}' y='{y - 4.5:.1f}' width='9' height='9' fill='{colour}'{turn}/>"


def _part(value: float, ticks: Sequence[float]) -> float:
    return (value - ticks[0]) / (ticks[-1] - ticks[0])


def _ticks(low: float, high: float) -> tuple[float, ...]:
    """Four to seven round numbers that hold `low` to `high`."""
    span = high - low if high > low else max(abs(high), 1e-9) / 10
    power = 10.0 ** math.floor(math.log10(span / 5))

    step = power * next(f for f in (1, 2, 2.5, 5, 10) if f * power >= span / 5 * 0.999)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return tuple(number * step for number in range(first, last + 1))


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> str:
    return (
        f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}' {more}/>"
    )


def _text(
    x: float,
    y: float,
    text: str,
    size: int = 13,
    colour: str = INK,
    anchor: str = "start",
    weight: int = 400,
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' font-weight='{weight}' "
        f"text-anchor='{anchor}' fill='{colour}' stroke='{PAPER}' stroke-width='3' "
        f"paint-order='stroke'>{escape(text)}</text>"
    )
