"""A leaderboard of one benchmark: who may be ranked, who may not and why, beside the paper's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from silmm.bench.leaderboard.published import COLUMNS, TABLE1, same_column
from silmm.bench.leaderboard.results import Number, Result
from silmm.printable import printable


@dataclass(frozen=True)
class Cell:
    """One number as a fraction of 1, with its interval and n where they are known."""

    value: float | None
    low: float | None = None
    high: float | None = None
    prompts: int | None = None
    images: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Line:
    """One row: a measured result, or a printed one."""

    name: str
    rank: int | None
    """1 is best; None where ranking is refused, and for printed rows."""
    cells: Mapping[str, Cell]
    published: bool
    why_not: str = ""
    """Why a measured result is not ranked."""


@dataclass(frozen=True)
class Board:
    """All results of one benchmark in one mode."""

    benchmark: str
    title: str
    mode: str
    columns: tuple[str, ...]
    """Higher is better in all of them."""
    headline: str
    """The column that ranks."""
    lines: tuple[Line, ...]
    remarks: tuple[str, ...]
    """What differs in how images were sampled, canaries, roles without a judge."""


def boards(results: Sequence[Result], *, details: bool = False, published: bool = True) -> list[Board]:
    """Return one board for each benchmark and mode, in the order of the results.

    Args:
        results: what was measured.
        details: show columns that the paper's table does not have.
        published: put the paper's rows above.
    """
    groups: dict[tuple[str, str], list[Result]] = {}
    for one in results:
        groups.setdefault((one.benchmark, one.mode), []).append(one)
    return [_board(group, details, published) for group in groups.values()]


def difference(one: Mapping[str, Any], other: Mapping[str, Any], path: str = "") -> list[str]:
    """Return what differs between two cards' parts, as ``judges.vqa.weights_sha256: 'a' / 'b'``."""
    found = []
    for key in sorted({*one, *other}):
        left, right = one.get(key), other.get(key)
        where = f"{path}{printable(str(key))}"
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += difference(left, right, f"{where}.")
        elif left != right:
            found.append(f"{where}: {_short(left)} / {_short(right)}")
    return found


def _short(value: Any) -> str:
    text = "nothing" if value is None or value == {} else printable(str(value))
    return text if len(text) <= 40 else f"{text[:37]}…"


def _board(group: Sequence[Result], details: bool, published: bool) -> Board:
    first = group[0]
    columns = _columns(group, details)
    headline = _headline(first.benchmark, columns)
    reasons = _reasons(group, headline)
    able = [one for one in group if not reasons[id(one)]]
    order = sorted(able, key=lambda one: -(one.numbers[headline].value or 0.0))
    ranks = {
        id(one): 1 + sum(_value(other, headline) > _value(one, headline) for other in able) for one in able
    }
    rows = [*order, *(one for one in group if reasons[id(one)])]
    measured = [
        Line(
            name=one.model, rank=ranks.get(id(one)) if len(able) > 1 else None,
            cells={name: _cell(one.numbers.get(name)) for name in columns},
            published=False, why_not=reasons[id(one)],
        )
        for one in rows
    ]
    printed = _printed(first, columns) if published else []
    return Board(
        benchmark=first.benchmark, title=first.title, mode=first.mode, columns=columns, headline=headline,
        lines=(*printed, *measured), remarks=tuple(_remarks(group)),
    )


def _columns(group: Sequence[Result], details: bool) -> tuple[str, ...]:
    names = dict.fromkeys(
        number.name for one in group for number in one.numbers.values() if details or not number.detail
    )
    return tuple(names)


def _headline(benchmark: str, columns: Sequence[str]) -> str:
    """Return Overall where there is one, else the paper's first column, else the last one."""
    for wanted in ("Overall", *COLUMNS.get(benchmark, ())):
        for name in columns:
            if same_column(name, wanted):
                return name
    return columns[-1]


def _value(one: Result, headline: str) -> float:
    return one.numbers[headline].value or 0.0


def _reasons(group: Sequence[Result], headline: str) -> dict[int, str]:
    """Say of each result why it is not ranked; the card that most full results have is the measure."""
    found: dict[int, str] = {}
    for one in group:
        number = one.numbers.get(headline)
        if one.marks:
            found[id(one)] = "; ".join(one.marks)
        elif one.canaries_failed:
            found[id(one)] = f"judges that fail canaries: {', '.join(sorted(one.canaries_failed))}"
        elif number is None or number.value is None:
            found[id(one)] = f"no value of {headline}{f': {number.note}' if number and number.note else ''}"
        else:
            found[id(one)] = ""
    full = [one for one in group if not found[id(one)]]
    if full:
        usual = max(full, key=lambda one: sum(other.scoring == one.scoring for other in full))
        for one in full:
            if one.scoring != usual.scoring:
                told = "; ".join(difference(one.scoring, usual.scoring)[:4])
                found[id(one)] = f"another protocol than {usual.model} ({told})"
    return found


def _cell(number: Number | None) -> Cell:
    if number is None:
        return Cell(None)
    return Cell(number.value, number.low, number.high, number.prompts, number.images, number.note)


def _printed(first: Result, columns: Sequence[str]) -> list[Line]:
    lines = []
    names = COLUMNS.get(first.benchmark, ())
    for row in TABLE1:
        numbers = dict(zip(names, row.numbers.get(first.benchmark, ()), strict=True))
        cells = {
            name: Cell(value / 100)
            for name in columns for printed, value in numbers.items()
            if value is not None and same_column(name, printed)
        }
        if cells:
            filled = {name: cells.get(name, Cell(None)) for name in columns}
            lines.append(Line(row.method, None, filled, published=True))
    return lines


def _remarks(group: Sequence[Result]) -> list[str]:
    remarks = []
    for one in group[1:]:
        told = difference(group[0].sampling, one.sampling)
        if told:
            remarks.append(f"sampled otherwise: {group[0].model} / {one.model}: {'; '.join(told)}")
    for one in group:
        if one.left_out:
            remarks.append(f"{one.model}: no judge for {', '.join(one.left_out)}")
        for role, failed in one.canaries_failed.items():
            remarks.append(f"{one.model}: the judge for {role} fails canaries: {'; '.join(failed)}")
    return remarks
