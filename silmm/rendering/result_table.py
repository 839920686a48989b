"""A table of results as data, and how its numbers are written."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeGuard

UP = "↑"
"""Marks a column in which higher is better."""
NONE = "–"
"""Replaces a missing number."""

Tone = Literal["", "better", "worse", "level", "strong", "quiet", "warning", "code", "chosen", "rejected"]
"""Style of a cell: coloured by its meaning, bold, dimmed, code, or the mark of a preference."""
RowStyle = Literal["", "total", "quiet", "published", "refused", "warning"]


@dataclass(frozen=True)
class Shape:
    """One element of a drawing."""

    element: Literal["line", "rect", "circle", "polyline", "polygon", "text"]
    css: str
    geometry: Mapping[str, str]
    """SVG attributes by name: coordinates and sizes."""
    text: str = ""


@dataclass(frozen=True)
class Drawing:
    """A small vector drawing, sizes in pixels."""

    width: int
    height: int
    shapes: Sequence[Shape]
    label: str = ""
    """What it shows, for readers who do not see it; empty for a decoration of a number beside it."""


@dataclass(frozen=True)
class Cell:
    """One cell. Text formats write `text` and `details`; pages may show an image or a drawing in their place."""

    text: str
    details: tuple[str, ...] = ()
    """Further lines below the text: an interval, a published number."""
    tone: Tone = ""
    image: str = ""
    """Address of an image, whose alternative text is `text`; on pages only."""
    drawing: Drawing | None = None
    """On pages only."""


@dataclass(frozen=True)
class Column:
    """A column with its name and its layout."""

    name: str
    align: Literal["left", "right"] = "right"
    higher_is_better: bool = False
    wrap: bool = True
    """Whether a terminal may break its texts; a name that is cut cannot be copied into a command."""
    width: int | None = None
    """Characters on a terminal; None: as many as it needs."""

    @property
    def label(self) -> str:
        """The name with its arrow."""
        return f"{self.name} {UP}" if self.higher_is_better else self.name


@dataclass(frozen=True)
class Row:
    """A row of cells, one per column."""

    cells: tuple[Cell, ...]
    style: RowStyle = ""
    new_section: bool = False
    """Whether a rule separates it from the row above."""


@dataclass(frozen=True)
class ResultTable:
    """A table with its title and the notes below it."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    title: str = ""
    notes: tuple[str, ...] = ()


CellLike: TypeAlias = "Cell | str"


def row(*cells: CellLike, style: RowStyle = "", new_section: bool = False) -> Row:
    """Make a row of cells; a plain text stands for itself."""
    made = tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in cells)
    return Row(made, style, new_section)


def text_table(
    names: Sequence[str], rows: Iterable[Sequence[CellLike]], *, left: Collection[int] = (0,), title: str = ""
) -> ResultTable:
    """Make a table of plain columns; those whose positions are in `left` are set to the left."""
    columns = (Column(name, "left" if index in left else "right") for index, name in enumerate(names))
    return ResultTable(tuple(columns), tuple(row(*cells) for cells in rows), title)


# ------------------------------------------------------------------------------------------- numbers


def is_finite(value: object) -> TypeGuard[float]:
    """Say whether a value, possibly out of JSON, is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def number(value: Any, *, signed: bool = False, percent: bool = False) -> str:  # a number or null out of JSON
    """Write a fraction with three digits, or as percent with two; a dash where there is none."""
    if not is_finite(value):
        return NONE
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.2f}" if percent else f"{value:{sign}.3f}"


def interval(low: Any, high: Any, *, signed: bool = False, percent: bool = False) -> str:
    """Write an interval as ``[low, high]``; a dash where an end is missing, as over a single prompt."""
    if not (is_finite(low) and is_finite(high)):
        return NONE
    return f"[{number(low, signed=signed, percent=percent)}, {number(high, signed=signed, percent=percent)}]"


def direction(low: Any, high: Any) -> tuple[str, Tone]:
    """Return arrow and tone of a difference: only an interval without zero counts as better or worse."""
    if is_finite(low) and low > 0:
        return "↑", "better"
    if is_finite(high) and high < 0:
        return "↓", "worse"
    return "·", "level"


def difference_columns(first: str, second: str, unit: str) -> tuple[Column, ...]:
    """Return the columns of :func:`difference_row`; `unit` names what n counts."""
    names = (first, second, "difference", "95% interval", unit)
    return (Column("", "left"), *(Column(name, wrap=False) for name in names))


def difference_row(
    name: str,
    figures: Mapping[str, Any],
    *,
    percent: bool = False,
    style: RowStyle = "",
    new_section: bool = False,
) -> Row:
    """Make a row of a paired comparison: both means, the difference with its arrow, its interval, n.

    Args:
        name: what was compared.
        figures: the fields of :class:`silmm.contracts.records.Difference`, or what JSON kept of them.
        percent: whether fractions of 1 are shown as percent.
        style: of the row.
        new_section: whether a rule separates it from the row above.
    """
    low, high, diff = figures["ci_low"], figures["ci_high"], figures["diff"]
    arrow, tone = direction(low, high)
    return row(
        name,
        *(number(figures[end], percent=percent) for end in ("before", "after")),
        Cell(f"{number(diff, signed=True, percent=percent)} {arrow}", tone=tone),
        interval(low, high, signed=True, percent=percent),
        str(figures["n"]),
        style=style, new_section=new_section,
    )
