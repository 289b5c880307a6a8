"""The picture of a workload: what every arm reached against the time it took, as SVG.

No scripts, no fonts from elsewhere. It brings its own background, light or dark as the reader's
system has it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 860, 480
LEFT, RIGHT, TOP, BOTTOM = 78, 560, 96, 420
LEGEND = 612

_STYLE = """
text { font-family: system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; }
.paper { fill: #ffffff } .ink { fill: #1f2933 } .muted { fill: #52606d }
.grid { stroke: #e4e7eb } .axis { stroke: #9aa5b1 }
.c0 { color: #1f2933 } .c1 { color: #7b8794 } .c2 { color: #b44d12 } .c3 { color: #8e4ec6 }
.c4 { color: #2f8132 } .c5 { color: #0e9bb5 } .c6 { color: #0b69d3 }
@media (prefers-color-scheme: dark) {
.paper { fill: #11161c } .ink { fill: #f0f4f8 } .muted { fill: #a9b6c3 }
.grid { stroke: #2a333d } .axis { stroke: #616e7c }
.c0 { color: #f0f4f8 } .c1 { color: #9aa5b1 } .c2 { color: #ff9a5c } .c3 { color: #c79bf2 }
.c4 { color: #7ccf7f } .c5 { color: #55d0e6 } .c6 { color: #6cb2ff }
}
"""
_COLOURS = 7
_BESIDE = (*[(8, 15, "start")] * 5, (8, -7, "start"), (-8, -7, "end"))
"""Where a dot's letters stand, so that neighbours of different series seldom meet."""

_MARKS = ("circle", "square", "triangle", "diamond", "cross", "ring", "star")


@dataclass(frozen=True)
class Dot:
    """One arm: where it stands, how sure that is, and the few letters beside it."""

    x: float
    y: float
    error: float
    text: str = ""


@dataclass(frozen=True)
class Series:
    """Arms of one family, joined by a line where they are several."""

    label: str
    dots: Sequence[Dot]


def draw(title: str, subtitle: str, across: str, up: str, series: Sequence[Series]) -> str:
    """The picture as the text of an SVG file.

    Args:
        across: what the horizontal axis shows, with its unit. It begins at 0.
        up: the same of the vertical one.
        series: at most seven; their bars are one standard error to each side.
    """
    dots = [dot for each in series for dot in each.dots]
    x_ticks = ticks(0, 1.03 * max(dot.x for dot in dots))
    y_ticks = ticks(min(dot.y - dot.error for dot in dots), max(dot.y + dot.error for dot in dots))
    frame = _Frame(x_ticks[0], x_ticks[-1], y_ticks[0], y_ticks[-1])
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{HEIGHT}' "
        f"viewBox='0 0 {WIDTH} {HEIGHT}' role='img'>",
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f"<rect class='paper' width='{WIDTH}' height='{HEIGHT}'/>",
        _text(LEFT, 30, title, size=17, weight=600),
        _text(LEFT, 51, subtitle, size=12, kind="muted"),
    ]
    for tick in y_ticks:
        parts.append(_line(LEFT, frame.y(tick), RIGHT, frame.y(tick), "grid"))
        parts.append(_text(LEFT - 9, frame.y(tick) + 4, label(tick), anchor="end", kind="muted"))
    for tick in x_ticks:
        parts.append(_line(frame.x(tick), BOTTOM, frame.x(tick), BOTTOM + 5, "axis"))
        parts.append(_text(frame.x(tick), BOTTOM + 20, label(tick), anchor="middle", kind="muted"))
    parts.append(_line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"))
    parts.append(_text((LEFT + RIGHT) / 2, BOTTOM + 44, across, anchor="middle"))
    parts.append(_text(LEFT, TOP - 8, up, weight=600))
    for number, each in enumerate(series):
        parts += _series(number % _COLOURS, each, frame)
        parts += _entry(number % _COLOURS, each.label, TOP + 8 + 26 * number)
    return "\n".join([*parts, "</svg>"]) + "\n"


def ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers that hold `low` to `high`."""
    span = high - low if high > low else max(abs(high), 1.0)
    raw = max(span / 5, 1e-12)
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [number * step for number in range(first, last + 1)]


def label(value: float) -> str:
    """A tick's number without an error of rounding."""
    return f"{value:.6g}"


@dataclass(frozen=True)
class _Frame:
    """From numbers to places in the picture."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return LEFT + (RIGHT - LEFT) * (value - self.left) / (self.right - self.left)

    def y(self, value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - self.low) / (self.high - self.low)


def _series(number: int, series: Series, frame: _Frame) -> list[str]:
    parts = [f"<g class='c{number}' stroke='currentColor' fill='currentColor' stroke-width='1.6'>"]
    dots = sorted(series.dots, key=lambda dot: dot.x)
    if len(dots) > 1:
        path = " ".join(f"{frame.x(dot.x):.1f},{frame.y(dot.y):.1f}" for dot in dots)
        parts.append(f"<polyline points='{path}' fill='none' opacity='0.55'/>")
    for dot in dots:
        x, y = frame.x(dot.x), frame.y(dot.y)
        if dot.error:
            low, high = frame.y(dot.y - dot.error), frame.y(dot.y + dot.error)
            parts.append(f"<path d='M{x:.1f} {low:.1f}V{high:.1f}' opacity='0.7'/>")
        parts.append(_mark(_MARKS[number], x, y))
    parts.append("</g>")
    right, down, anchor = _BESIDE[number]
    parts += [
        _text(x + right, y + down, dot.text, size=11, kind=f"c{number}", anchor=anchor)
        for dot, x, y in ((dot, frame.x(dot.x), frame.y(dot.y)) for dot in dots)
        if dot.text
    ]
    return parts


def _entry(number: int, text: str, y: float) -> list[str]:
    mark = _mark(_MARKS[number], LEGEND, y - 4)
    group = f"<g class='c{number}' stroke='currentColor' fill='currentColor'>{mark}</g>"
    return [group, _text(LEGEND + 14, y, text)]


def _mark(kind: str, x: float, y: float) -> str:
    if kind == "circle":
        return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4.5'/>"
    if kind == "ring":
        return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4.5' fill='none' stroke-width='2.2'/>"
    if kind == "cross":
        return f"<path d='M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8' fill='none' stroke-width='2.4'/>"
    corners, turn, inner = {
        "square": (4, math.pi / 4, 0.0),
        "triangle": (3, math.pi / 2, 0.0),
        "diamond": (4, 0.0, 0.0),
        "star": (5, math.pi / 2, 2.6),
    }[kind]
    radii = [6.0] if not inner else [6.5, inner]
    count = corners * len(radii)
    points = [
        (
            x + radii[n % len(radii)] * math.cos(turn + 2 * math.pi * n / count),
            y - radii[n % len(radii)] * math.sin(turn + 2 * math.pi * n / count),
        )
        for n in range(count)
    ]
    return f"<polygon points='{' '.join(f'{a:.1f},{b:.1f}' for a, b in points)}'/>"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f"<line class='{kind}' x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}'/>"


def _text(
    x: float,
    y: float,
    text: str,
    size: int = 12,
    kind: str = "ink",
    anchor: str = "start",
    weight: int = 400,
) -> str:
    # A series has its colour as `color`, all else as `fill`.
    fill = " fill='currentColor'" if kind.startswith("c") else ""
    return (
        f"<text class='{kind}'{fill} x='{x:.1f}' y='{y:.1f}' font-size='{size}' "
        f"font-weight='{weight}' text-anchor='{anchor}'>{escape(text)}</text>"
    )
