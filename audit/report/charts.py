"""Charts as inline SVG, drawn from numbers: no script, no font file, no external picture.

Colours come from the page's CSS variables, so that a chart follows light, dark and print. Every
text inside is made from numbers, or escaped and visible.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from strongroom.errors.visible import visible

WIDTH, HEIGHT = 460, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 14, 30


@dataclass(frozen=True)
class Series:
    """A named curve: points (x, y), and the words that say how y is to be read."""

    name: str
    points: tuple[tuple[float, float], ...]
    unit: str = ""


def curve(series: Series, *, marks: Sequence[float] = ()) -> Markup:
    """A line over faint points, smoothed where there are many; ``marks`` are ticks on x.

    Smoothing is an exponential mean with a weight of 0.7 on what went before.
    """
    points = series.points
    if not points:
        return Markup("")
    low, high, ticks = _scale([y for _, y in points])
    first, last = points[0][0], points[-1][0]
    span_x, span_y = (last - first) or 1.0, (high - low) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - first) / span_x * (WIDTH - _LEFT - _RIGHT)
        return across, HEIGHT - _BOTTOM - (y - low) / span_y * (HEIGHT - _TOP - _BOTTOM)

    parts = [_open(f"{series.name} from step {first:g} to {last:g}")]
    for tick in ticks:
        _, y = place(first, tick)
        parts.append(
            Markup(
                '<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>'
                '<text class="tick" x="{3}" y="{4:.1f}" text-anchor="end">{5}</text>'
            ).format(_LEFT, WIDTH - _RIGHT, y, _LEFT - 7, y + 3.5, number(tick))
        )
    floor = HEIGHT - _BOTTOM
    for mark in marks:
        x, _ = place(mark, low)
        parts.append(
            Markup('<line class="mark" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(
                x, _TOP, floor
            )
        )
    for x in sorted({first, last, *marks}):
        across, _ = place(x, low)
        parts.append(
            Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                across, floor + 17, number(x)
            )
        )
    placed = [place(x, y) for x, y in points]
    for x, y in placed:
        parts.append(Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="1.9"/>').format(x, y))
    smooth = [place(x, y) for x, y in (_smoothed(points) if len(points) > 12 else points)]
    path = " ".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(smooth))
    parts.append(Markup('<path class="line" d="{}"/></svg>').format(path))
    return Markup("").join(parts)


def bars(title: str, values: Sequence[tuple[str, float]]) -> Markup:
    """Values as horizontal bars on one scale from 0 to 1 or more, the last in the accent colour."""
    top = max([1.0, *(value for _, value in values)])
    start, room = 76, WIDTH - 76 - 66
    parts = [_open(title, 34 * len(values) + 8)]
    for row, (label, value) in enumerate(values):
        y = 8 + 34 * row
        kind = "bar last" if row == len(values) - 1 else "bar"
        parts.append(
            Markup(
                '<text class="label" x="0" y="{0}">{1}</text>'
                '<rect class="track" x="{2}" y="{3}" width="{4}" height="20" rx="3"/>'
                '<rect class="{5}" x="{2}" y="{3}" width="{6:.1f}" height="20" rx="3"/>'
                '<text class="value" x="{7}" y="{0}">{8}</text>'
            ).format(
                y + 14.5,
                visible(label),
                start,
                y,
                room,
                kind,
                max(0.0, value / top) * room,
                start + room + 12,
                number(value),
            )
        )
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def spans(
    title: str,
    rows: Sequence[tuple[str, float, float]],
    top: float,
    marks: Sequence[tuple[float, str]] = (),
) -> Markup:
    """Rows (label, mean, maximum) on one scale from 0 to ``top``: a bar up to the mean, a line
    from there to the maximum. ``marks`` are dashed lines at a value, with a word below."""
    start, room = 90, WIDTH - 90 - 92
    floor = 34 * len(rows) + 4
    parts = [_open(title, floor + 22)]

    def across(value: float) -> float:
        return start + max(0.0, min(1.0, value / top)) * room

    for row, (label, mean, maximum) in enumerate(rows):
        y = 8 + 34 * row
        kind = "bar last" if row == len(rows) - 1 else "bar"
        parts.append(
            Markup(
                '<text class="label" x="0" y="{0}">{1}</text>'
                '<rect class="track" x="{2}" y="{3}" width="{4}" height="20" rx="3"/>'
                '<rect class="{5}" x="{2}" y="{3}" width="{6:.1f}" height="20" rx="3"/>'
                '<path class="line" d="M{7:.1f} {8}H{9:.1f}M{9:.1f} {10}v10"/>'
                '<text class="value" x="{11}" y="{0}">{12} · {13}</text>'
            ).format(
                *(y + 14.5, visible(label), start, y, room, kind, across(mean) - start),
                *(across(mean), y + 10, across(maximum), y + 5),
                *(start + room + 12, number(mean), number(maximum)),
            )
        )
    for value, word in marks:
        parts.append(
            Markup(
                '<line class="mark" x1="{0:.1f}" x2="{0:.1f}" y1="4" y2="{1}"/>'
                '<text class="tick" x="{0:.1f}" y="{2}" text-anchor="middle">{3}</text>'
            ).format(across(value), floor, floor + 14, word)
        )
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def number(value: float) -> str:
    """A number as a person writes it: at most four significant digits, no exponent if short."""
    return f"{value:.4g}" if math.isfinite(value) else "-"


def _open(title: str, height: int = HEIGHT) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {0} {1}" role="img" aria-label="{2}">').format(
        WIDTH, height, visible(title)
    )


def _smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    smooth = [points[0]]
    for x, y in points[1:]:
        smooth.append((x, 0.7 * smooth[-1][1] + 0.3 * y))
    return smooth


def _scale(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Round limits around the values, and three to six ticks between them."""
    low, high = min(values), max(values)
    if high - low < 1e-12:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    start, end = math.floor(low / step), math.ceil(high / step)
    ticks = [index * step for index in range(start, end + 1)]
    return ticks[0], ticks[-1], ticks
