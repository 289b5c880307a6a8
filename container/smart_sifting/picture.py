"""The picture of a receipt: kept share and loss over the steps, as SVG.

Two panels, one above the other, share the axis of steps, and each says in its own title what it
shows. No scripts, no fonts from elsewhere: the file is the whole picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from smart_sifting.receipt import Receipt, counts

WIDTH, HEIGHT = 760, 520
LEFT, RIGHT = 76, 724
INK, MUTED, GRID, PAPER = "#1f2933", "#616e7c", "#e4e7eb", "#ffffff"
KEPT, LOSS = "#0b69a3", "#b44d12"
FONT = "font-family='system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'"

Point = tuple[float, float]


def draw_svg(receipt: Receipt) -> str:
    """The picture as the text of an SVG file, 760 by 520; without a history it says so."""
    shares = [(float(point.step), 100 * point.kept_share) for point in receipt.history]
    losses = [
        (float(point.step), math.nan if point.loss is None else point.loss)
        for point in receipt.history
    ]
    steps = _ticks(0, max((step for step, _ in shares), default=1), whole=True)
    finite = [loss for _, loss in losses if math.isfinite(loss)]
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{HEIGHT}' "
        f"viewBox='0 0 {WIDTH} {HEIGHT}' role='img' {FONT}>",
        f"<title>{escape(_headline(receipt))}</title>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='{PAPER}'/>",
        _text(LEFT, 34, _headline(receipt), size=18, weight=600),
        _text(LEFT, 55, _byline(receipt), size=12, colour=MUTED),
        *_panel("share kept so far (%)", KEPT, 92, 256, steps, _ticks(0, 100), shares),
        *_asked(receipt, 92, 256),
        *_panel(
            "mean scored loss",
            LOSS,
            304,
            468,
            steps,
            _ticks(min([0.0, *finite]), max([0.0, *finite])),
            losses,
        ),
        *[
            _text(_across(each, steps), 486, _label(each), size=12, anchor="middle")
            for each in steps
        ],
        _text((LEFT + RIGHT) / 2, 507, "training step", size=12, colour=MUTED, anchor="middle"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _headline(receipt: Receipt) -> str:
    if not receipt.samples.seen:
        return "No training was seen"
    return counts(receipt).capitalize()


def _byline(receipt: Receipt) -> str:
    line = f"{receipt.tier}: {receipt.reason}" if receipt.reason else receipt.tier
    return line if len(line) <= 105 else line[:104] + "…"


def _panel(
    title: str,
    colour: str,
    top: float,
    bottom: float,
    steps: Sequence[float],
    ticks: Sequence[float],
    points: Sequence[Point],
) -> list[str]:
    parts = [_text(LEFT, top - 10, title, size=13, weight=600, colour=colour)]
    for tick in ticks:
        height = _up(tick, ticks, top, bottom)
        parts.append(_line(LEFT, height, RIGHT, height, GRID))
        parts.append(_text(LEFT - 8, height + 4, _label(tick), size=12, anchor="end"))
    placed = [
        (_across(step, steps), _up(value, ticks, top, bottom)) if math.isfinite(value) else None
        for step, value in points
    ]
    runs = _runs(placed)
    if not runs:
        middle = (top + bottom) / 2
        parts.append(
            _text((LEFT + RIGHT) / 2, middle, "nothing was recorded", colour=MUTED, anchor="middle")
        )
    return [*parts, *[_curve(run, colour) for run in runs]]


def _asked(receipt: Receipt, top: float, bottom: float) -> list[str]:
    """A dashed line at the share that was asked for; left out where all was asked for."""
    if receipt.keep >= 1 or not receipt.history:
        return []
    height = bottom - (bottom - top) * receipt.keep
    return [
        _line(LEFT, height, RIGHT, height, MUTED, dashed=True),
        _text(RIGHT, height + 15, f"asked for {100 * receipt.keep:.4g} %", 11, MUTED, "end"),
    ]


def _runs(points: Sequence[Point | None]) -> list[list[Point]]:
    """The points in unbroken rows: a loss that is not finite leaves a gap."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if run]


def _curve(points: Sequence[Point], colour: str) -> str:
    if len(points) == 1:
        (across, up) = points[0]
        return f"<circle cx='{across:.1f}' cy='{up:.1f}' r='3' fill='{colour}'/>"
    path = " ".join(f"{across:.1f},{up:.1f}" for across, up in points)
    return (
        f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2' "
        "stroke-linejoin='round' stroke-linecap='round'/>"
    )


def _across(step: float, steps: Sequence[float]) -> float:
    return LEFT + (RIGHT - LEFT) * (step - steps[0]) / (steps[-1] - steps[0])


def _up(value: float, ticks: Sequence[float], top: float, bottom: float) -> float:
    return bottom - (bottom - top) * (value - ticks[0]) / (ticks[-1] - ticks[0])


def _ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Four to seven round numbers that hold ``low`` to ``high``."""
    span = high - low if high > low else max(abs(high), 1.0)
    raw = max(span / 5, 1e-12)
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    if whole:
        step = max(1.0, math.ceil(step))
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [number * step for number in range(first, last + 1)]


def _label(value: float) -> str:
    return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.1e}"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dashed: bool = False) -> str:
    dashes = " stroke-dasharray='4 4'" if dashed else ""
    return (
        f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}'{dashes}/>"
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
        f"text-anchor='{anchor}' fill='{colour}'>{escape(text)}</text>"
    )
