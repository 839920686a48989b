"""Small charts as data for inline SVG: no script, no network, equal charts for equal numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from silmm.rendering.result_table import Drawing, Shape
from silmm.report.sections import Chart

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 26
PALETTE = ("c1", "c2", "c3", "c4")
"""Classes of the style sheet, so that colours follow the reader's light or dark theme."""

Points: TypeAlias = Sequence[tuple[float, float]]
Limits: TypeAlias = tuple[float, float]


def line_chart(
    title: str, series: Mapping[str, Points], *, x_label: str = "step", level: float | None = None
) -> Chart:
    """Plot named lines over a common x; points that are not finite break the line.

    A dashed line at `level` marks what the values are to be compared with.
    """
    finite = [point for points in series.values() for point in points if _finite(point)]
    if not finite:
        return Chart(title, None)
    levels = [] if level is None else [level]
    xs, ys = _limits([x for x, _ in finite]), _padded(_limits([*(y for _, y in finite), *levels]))
    shapes = [*_grid(xs, ys, x_label), *(_level(value, ys) for value in levels)]
    for colour, points in zip(_colours(len(series)), series.values(), strict=True):
        for segment in _segments(points):
            path = " ".join(f"{_x(x, xs):.1f},{_y(y, ys):.1f}" for x, y in segment)
            shapes.append(Shape("polyline" if len(segment) > 1 else "polygon", f"line {colour}", {"points": path}))
    return _chart(title, shapes, list(series))


def histogram(
    title: str,
    series: Mapping[str, Sequence[float]],
    *,
    span: Limits,
    bins: int = 40,
    x_label: str = "score",
    means: bool = False,
) -> Chart:
    """Plot the share of values in each bin of `span`, one translucent layer per name.

    With `means`, a dashed line in the layer's colour marks its mean, which the legend states too.
    """
    low, high = span
    finite = {name: [value for value in values if math.isfinite(value)] for name, values in series.items()}
    shares = {name: _shares(values, low, high, bins) for name, values in finite.items()}
    top = max((max(share) for share in shares.values()), default=0.0)
    if top == 0:
        return Chart(title, None)
    ys = (0.0, top * 1.05)
    shapes = _grid(span, ys, x_label)
    bin_width = (high - low) / bins
    for colour, share in zip(_colours(len(shares)), shares.values(), strict=True):
        for index, height in enumerate(share):
            if height:
                left, right = _x(low + index * bin_width, span), _x(low + (index + 1) * bin_width, span)
                y = _y(height, ys)
                shapes.append(Shape("rect", f"bar {colour}", {
                    "x": f"{left:.1f}", "y": f"{y:.1f}", "width": f"{max(right - left - 0.5, 0.5):.1f}",
                    "height": f"{HEIGHT - BOTTOM - y:.1f}",
                }))
    names = []
    for colour, (name, values) in zip(_colours(len(finite)), finite.items(), strict=True):
        key = f"n={len(values)}"
        if means and values:
            mean = sum(values) / len(values)
            shapes.append(_line(f"line mean {colour}", (_x(mean, span), TOP), (_x(mean, span), HEIGHT - BOTTOM)))
            key += f", mean {tick_label(round(mean, 3))}"
        names.append(f"{name} ({key})")
    return _chart(title, shapes, names)


def interval_chart(title: str, base: float, points: Sequence[tuple[int, float, float, float]]) -> Chart:
    """Plot (iteration, low, value, high) with whiskers, after the `base` at iteration 0.

    The scale covers at least 0.1, so that noise does not fill the chart; an end that is not finite has no
    whisker.
    """
    ends = [base, *(value for _, *values in points for value in values if math.isfinite(value))]
    low, high = min(ends), max(ends)
    room = max(0.0, 0.1 - (high - low)) / 2
    xs = (-0.25, max(x for x, *_ in points) + 0.25)
    ys = _padded((low - room, high + room))
    shapes = [*_grid(xs, ys, "iteration", integers=True), _level(base, ys)]
    course = [(0, base), *((x, value) for x, _, value, _ in points)]
    path = " ".join(f"{_x(x, xs):.1f},{_y(y, ys):.1f}" for x, y in course)
    shapes.append(Shape("polyline", "line c1", {"points": path}))
    for x, low_end, value, high_end in [(0, math.nan, base, math.nan), *points]:
        if math.isfinite(low_end) and math.isfinite(high_end):
            shapes.append(_line("line c1", (_x(x, xs), _y(low_end, ys)), (_x(x, xs), _y(high_end, ys))))
        centre = {"cx": f"{_x(x, xs):.1f}", "cy": f"{_y(value, ys):.1f}", "r": "3.5"}
        shapes.append(Shape("circle", "dot c1", centre))
    return _chart(title, shapes, [])


def interval_bar(low: float, difference: float, high: float, reach: float) -> Drawing:
    """Draw a difference with its interval on a scale from -reach to +reach, zero marked."""
    width, height = 180, 18

    def x(value: float) -> float:
        return width / 2 * (1 + max(-1.0, min(1.0, value / reach)))

    shapes = [Shape("line", "zero", {"x1": "90", "x2": "90", "y1": "0", "y2": "18"})]
    if math.isfinite(low) and math.isfinite(high):
        shapes.append(_line("whisker", (x(low), 9), (x(high), 9)))
    tone = "better" if low > 0 else "worse" if high < 0 else "level"
    shapes.append(Shape("circle", tone, {"cx": f"{x(difference):.1f}", "cy": "9", "r": "4"}))
    return Drawing(width, height, shapes)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round numbers inside [low, high], about `count` of them."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def tick_label(value: float) -> str:
    """Write a number with four digits at most."""
    text = f"{value:.4g}"
    return "0" if float(text) == 0 else text


def _line(css: str, start: tuple[float, float], end: tuple[float, float]) -> Shape:
    (x1, y1), (x2, y2) = start, end
    return Shape("line", css, {"x1": f"{x1:.1f}", "x2": f"{x2:.1f}", "y1": f"{y1:.1f}", "y2": f"{y2:.1f}"})


def _level(value: float, ys: Limits) -> Shape:
    return _line("zero", (LEFT, _y(value, ys)), (WIDTH - RIGHT, _y(value, ys)))


def _tick(text: str, x: float, y: float, anchor: str) -> Shape:
    return Shape("text", "tick", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}, text)


def _grid(xs: Limits, ys: Limits, x_label: str, *, integers: bool = False) -> list[Shape]:
    shapes = []
    for value in ticks(*ys):
        y = _y(value, ys)
        shapes += [_line("grid", (LEFT, y), (WIDTH - RIGHT, y)), _tick(tick_label(value), LEFT - 5, y + 3, "end")]
    shapes += [
        _tick(tick_label(value), _x(value, xs), HEIGHT - BOTTOM + 13, "middle")
        for value in ticks(*xs) if not integers or value == round(value)
    ]
    return [*shapes, _tick(x_label, WIDTH - RIGHT, HEIGHT - 2, "end")]


def _chart(title: str, shapes: Sequence[Shape], names: Sequence[str]) -> Chart:
    """Add the legend, where it says more than the title."""
    says_more = len(names) > 1 or (names and names[0] not in ("", title))
    legend = list(zip(_colours(len(names)), names, strict=True)) if says_more else []
    return Chart(title, Drawing(WIDTH, HEIGHT, shapes, label=title), legend)


def _colours(count: int) -> list[str]:
    return [PALETTE[index % len(PALETTE)] for index in range(count)]


def _shares(values: Sequence[float], low: float, high: float, bins: int) -> list[float]:
    counts = [0] * bins
    for value in values:
        index = int((value - low) / (high - low) * bins)
        counts[max(0, min(bins - 1, index))] += 1
    return [count / len(values) if values else 0.0 for count in counts]


def _segments(points: Points) -> list[list[tuple[float, float]]]:
    """Split points where a value is not finite."""
    segments: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if _finite(point):
            segments[-1].append(point)
        elif segments[-1]:
            segments.append([])
    return [segment for segment in segments if segment]


def _finite(point: tuple[float, float]) -> bool:
    return math.isfinite(point[0]) and math.isfinite(point[1])


def _limits(values: Sequence[float]) -> Limits:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _padded(limits: Limits) -> Limits:
    margin = 0.06 * (limits[1] - limits[0])
    return limits[0] - margin, limits[1] + margin


def _x(value: float, limits: Limits) -> float:
    return LEFT + (value - limits[0]) / (limits[1] - limits[0]) * (WIDTH - LEFT - RIGHT)


def _y(value: float, limits: Limits) -> float:
    inner = HEIGHT - TOP - BOTTOM
    return HEIGHT - BOTTOM - (value - limits[0]) / (limits[1] - limits[0]) * inner
