"""Small charts as inline SVG: no script, no network, equal bytes for equal data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from silmm.report.markup import Markup

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 26
PALETTE = ("c1", "c2", "c3", "c4")
"""Classes of the style sheet, so that colours follow the reader's light or dark theme."""

Points = Sequence[tuple[float, float]]


def line_chart(
    title: str, series: Mapping[str, Points], *, x_label: str = "step", level: float | None = None
) -> Markup:
    """Sample named lines over a common x; points that are not finite break the line.

    A dashed line at `level` marks what the values are to be compared with.
    """
    finite = [p for points in series.values() for p in points if _finite(p)]
    if not finite:
        return _figure(title, '<p class="none">no finite values</p>', ())
    also = [] if level is None else [level]
    xs, ys = _limits([p[0] for p in finite]), _padded(_limits([*(p[1] for p in finite), *also]))
    marks = [_grid(xs, ys, x_label), *(_level(value, ys) for value in also)]
    for colour, points in zip(_colours(len(series)), series.values(), strict=True):
        for run in _runs(points):
            path = " ".join(f"{_x(x, xs):.1f},{_y(y, ys):.1f}" for x, y in run)
            shape = "polyline" if len(run) > 1 else "polygon"
            marks.append(f'<{shape} class="line {colour}" points="{path}"/>')
    return _figure(title, _svg(title, marks), tuple(series))


def histogram(
    title: str,
    series: Mapping[str, Sequence[float]],
    *,
    span: tuple[float, float],
    bins: int = 40,
    x_label: str = "score",
    means: bool = False,
) -> Markup:
    """Sample the share of values in each bin of `span`, one translucent layer for each name.

    With `means`, a dashed line in the layer's colour marks its mean, which stands in the legend too.
    """
    low, high = span
    shares = {
        name: _shares([v for v in values if math.isfinite(v)], low, high, bins)
        for name, values in series.items()
    }
    top = max((max(share) for share in shares.values()), default=0.0)
    if top == 0:
        return _figure(title, '<p class="none">no finite values</p>', ())
    marks = [_grid(span, (0.0, top * 1.05), x_label)]
    step = (high - low) / bins
    for colour, share in zip(_colours(len(shares)), shares.values(), strict=True):
        for index, height in enumerate(share):
            if height:
                left, right = _x(low + index * step, span), _x(low + (index + 1) * step, span)
                y = _y(height, (0.0, top * 1.05))
                marks.append(
                    f'<rect class="bar {colour}" x="{left:.1f}" y="{y:.1f}" '
                    f'width="{max(right - left - 0.5, 0.5):.1f}" '
                    f'height="{HEIGHT - BOTTOM - y:.1f}"/>'
                )
    names = []
    for colour, (name, values) in zip(_colours(len(series)), series.items(), strict=True):
        finite = [v for v in values if math.isfinite(v)]
        told = f"n={len(finite)}"
        if means and finite:
            mean = sum(finite) / len(finite)
            marks.append(
                f'<line class="line mean {colour}" x1="{_x(mean, span):.1f}" '
                f'x2="{_x(mean, span):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
            )
            told += f", mean {number(round(mean, 3))}"
        names.append(f"{name} ({told})")
    return _figure(title, _svg(title, marks), tuple(names))


def interval_chart(title: str, base: float, points: Sequence[tuple[int, float, float, float]]) -> Markup:
    """Sample (iteration, low, value, high) with whiskers, after the `base` at iteration 0.

    The scale covers at least 0.1, so that noise does not fill the chart; an end that is not finite
    has no whisker.
    """
    ends = [base, *(v for _, *values in points for v in values if math.isfinite(v))]
    low, high = min(ends), max(ends)
    room = max(0.0, 0.1 - (high - low)) / 2
    xs = (-0.25, max(x for x, *_ in points) + 0.25)
    ys = _padded((low - room, high + room))
    marks = [_grid(xs, ys, "iteration", whole=True), _level(base, ys)]
    course = [(0, base), *((x, value) for x, _, value, _ in points)]
    line = " ".join(f"{_x(x, xs):.1f},{_y(y, ys):.1f}" for x, y in course)
    marks.append(f'<polyline class="line c1" points="{line}"/>')
    for x, under, value, over in [(0, math.nan, base, math.nan), *points]:
        place = f"{_x(x, xs):.1f}"
        if math.isfinite(under) and math.isfinite(over):
            marks.append(
                f'<line class="line c1" x1="{place}" x2="{place}" y1="{_y(under, ys):.1f}" '
                f'y2="{_y(over, ys):.1f}"/>'
            )
        marks.append(f'<circle class="dot c1" cx="{place}" cy="{_y(value, ys):.1f}" r="3.5"/>')
    return _figure(title, _svg(title, marks), ())


def interval_bar(low: float, diff: float, high: float, reach: float) -> Markup:
    """Sample a difference with its interval on a scale from -reach to +reach, zero marked."""
    width, height = 180, 18

    def x(value: float) -> float:
        return width / 2 * (1 + max(-1.0, min(1.0, value / reach)))

    whisker = ""
    if math.isfinite(low) and math.isfinite(high):
        whisker = f'<line class="whisker" x1="{x(low):.1f}" x2="{x(high):.1f}" y1="9" y2="9"/>'
    kind = "up" if low > 0 else "down" if high < 0 else "level"
    return Markup(
        f'<svg class="interval" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'aria-hidden="true"><line class="zero" x1="90" x2="90" y1="0" y2="18"/>{whisker}'
        f'<circle class="{kind}" cx="{x(diff):.1f}" cy="9" r="4"/></svg>'
    )


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


def _level(value: float, ys: tuple[float, float]) -> str:
    y = f"{_y(value, ys):.1f}"
    return f'<line class="zero" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'


def _grid(
    xs: tuple[float, float], ys: tuple[float, float], x_label: str, *, whole: bool = False
) -> str:
    parts = []
    for value in ticks(*ys):
        y = _y(value, ys)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{LEFT - 5}" y="{y + 3:.1f}" text-anchor="end">'
            f"{number(value)}</text>"
        )
    for value in ticks(*xs):
        if whole and value != round(value):
            continue
        parts.append(
            f'<text class="tick" x="{_x(value, xs):.1f}" y="{HEIGHT - BOTTOM + 13}" '
            f'text-anchor="middle">{number(value)}</text>'
        )
    parts.append(
        f'<text class="tick" x="{WIDTH - RIGHT}" y="{HEIGHT - 2}" text-anchor="end">'
        f"{escape(x_label)}</text>"
    )
    return "".join(parts)


def number(value: float) -> str:
    """Write a tick label shortly."""
    text = f"{value:.4g}"
    return "0" if float(text) == 0 else text


def _svg(title: str, marks: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(marks)}</svg>"
    )


def _figure(title: str, body: str, names: Sequence[str]) -> Markup:
    legend = ""
    if len(names) > 1 or (names and names[0] not in ("", title)):
        keys = zip(_colours(len(names)), names, strict=True)
        legend = "".join(f'<span class="key {c}">{escape(name)}</span>' for c, name in keys)
        legend = f'<div class="legend">{legend}</div>'
    caption = f"<figcaption>{escape(title)}</figcaption>"
    return Markup(f'<figure class="chart">{caption}{body}{legend}</figure>')


def _colours(count: int) -> list[str]:
    return [PALETTE[index % len(PALETTE)] for index in range(count)]


def _shares(values: Sequence[float], low: float, high: float, bins: int) -> list[float]:
    counts = [0] * bins
    for value in values:
        index = int((value - low) / (high - low) * bins)
        counts[max(0, min(bins - 1, index))] += 1
    return [count / len(values) if values else 0.0 for count in counts]


def _runs(points: Points) -> list[list[tuple[float, float]]]:
    """Split points where a value is not finite."""
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if _finite(point):
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _finite(point: tuple[float, float]) -> bool:
    return math.isfinite(point[0]) and math.isfinite(point[1])


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _padded(limits: tuple[float, float]) -> tuple[float, float]:
    margin = 0.06 * (limits[1] - limits[0])
    return limits[0] - margin, limits[1] + margin


def _x(value: float, limits: tuple[float, float]) -> float:
    return LEFT + (value - limits[0]) / (limits[1] - limits[0]) * (WIDTH - LEFT - RIGHT)


def _y(value: float, limits: tuple[float, float]) -> float:
    inner = HEIGHT - TOP - BOTTOM
    return HEIGHT - BOTTOM - (value - limits[0]) / (limits[1] - limits[0]) * inner
