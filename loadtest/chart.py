"""Line and bar charts as SVG, drawn here: a report must open without a network and without a script.

Receives series of points, hands a string back. Axes are linear, or logarithmic where told; ticks are round numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

Point: TypeAlias = tuple[float, float]

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 28, 44
COLOURS = ("#0b6e99", "#d1495b", "#66a182", "#8d6a9f", "#edae49")
TICKS = 5
MOST_NAMES = 16


@dataclass(frozen=True, slots=True)
class Series:
    """A named line."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Axis:
    """`ticks`: (value, what is written there); none: round numbers."""

    title: str
    log: bool = False
    ticks: Sequence[tuple[float, str]] = ()


def line_chart(title: str, x: Axis, y: Axis, series: Sequence[Series], marked: Sequence[tuple[Point, str]] = ()) -> str:
    """An `<svg>`, and a `<figcaption>` that names the lines. `marked` are points with a word beside them."""
    points = [point for each in series for point in each.points]
    if not points:
        return ""
    to_x, x_ticks = _scale(x, [px for px, _ in points], LEFT, WIDTH - RIGHT)
    to_y, y_ticks = _scale(y, [0.0 if not y.log else points[0][1], *(py for _, py in points)], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<text x="{LEFT}" y="16" class="title">{escape(title)}</text>',
    ]
    for value, label in y_ticks:
        at = to_y(value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" class="end">{escape(label)}</text>')
    for value, label in x_ticks:
        parts.append(f'<text x="{to_x(value):.1f}" y="{HEIGHT - BOTTOM + 18}" class="middle">{escape(label)}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 6}" class="middle">{escape(x.title)}</text>')
    parts.append(
        f'<text x="14" y="{HEIGHT / 2:.0f}" class="middle" transform="rotate(-90 14 {HEIGHT / 2:.0f})">'
        f"{escape(y.title)}</text>"
    )
    for number, each in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{to_x(px):.1f},{to_y(py):.1f}" for px, py in each.points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(each.points) <= 40:
            parts += [
                f'<circle cx="{to_x(px):.1f}" cy="{to_y(py):.1f}" r="3" fill="{colour}">'
                f"<title>{escape(each.name)}: {px:.6g}, {py:.6g}</title></circle>"
                for px, py in each.points
            ]
    for (px, py), word in marked:
        parts.append(f'<circle cx="{to_x(px):.1f}" cy="{to_y(py):.1f}" r="7" class="mark"/>')
        side, step = ("end", -10) if to_x(px) > WIDTH / 2 else ("start", 10)
        parts.append(f'<text x="{to_x(px) + step:.1f}" y="{to_y(py) - 8:.1f}" class="{side}">{escape(word)}</text>')
    names = (
        f'<span style="color:{COLOURS[number % len(COLOURS)]}">&#9644;</span> {escape(each.name)}'
        for number, each in enumerate(series)
    )
    return "\n".join((*parts, "</svg>", f"<figcaption>{' &#160; '.join(names)}</figcaption>"))


def bar_chart(title: str, shares: Mapping[str, float]) -> str:
    """An `<svg>` with a bar for each name, in their order; the shares are of 1."""
    if not shares:
        return ""
    most, width = max(shares.values()), (WIDTH - LEFT - RIGHT) / len(shares)
    floor, every = HEIGHT - BOTTOM, math.ceil(len(shares) / MOST_NAMES)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<text x="{LEFT}" y="16" class="title">{escape(title)}</text>',
    ]
    for number, (name, share) in enumerate(shares.items()):
        x, height = LEFT + number * width, share / most * (floor - TOP - 16)
        parts.append(
            f'<rect x="{x + 0.1 * width:.1f}" y="{floor - height:.1f}" width="{0.8 * width:.1f}" height="{height:.1f}"'
            f' fill="{COLOURS[0]}"><title>{escape(name)}: {share:.1%}</title></rect>'
        )
        if number % every == 0:
            middle = x + width / 2
            parts.append(f'<text x="{middle:.1f}" y="{floor + 18}" class="middle">{escape(name)}</text>')
            parts.append(f'<text x="{middle:.1f}" y="{floor - height - 4:.1f}" class="middle">{share:.0%}</text>')
    return "\n".join((*parts, "</svg>"))


def _scale(
    axis: Axis, values: Sequence[float], start: float, end: float
) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    if axis.log:
        low, high = math.log10(max(min(values), 1e-9)), math.log10(max(*values, 1e-9))
    else:
        low, high = min(values), max(values)
    ticks = list(axis.ticks) or (_powers(low, high) if axis.log else _round_numbers(low, high))
    inner = [math.log10(value) if axis.log else value for value, _ in ticks]
    low, high = min(low, *inner), max(high, *inner)
    span = high - low or 1.0

    def place(value: float) -> float:
        at = math.log10(max(value, 1e-9)) if axis.log else value
        return start + (at - low) / span * (end - start)

    return place, ticks


def _round_numbers(low: float, high: float) -> list[tuple[float, str]]:
    rough = (high - low or abs(high) or 1.0) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [(number * step, f"{number * step:,.6g}") for number in range(first, last + 1)]


def _powers(low: float, high: float) -> list[tuple[float, str]]:
    return [(10.0**power, f"{10.0**power:,.6g}") for power in range(math.floor(low), math.ceil(high) + 1)]
