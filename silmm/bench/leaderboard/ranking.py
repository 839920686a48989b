"""A leaderboard of one benchmark: who may be ranked, who may not and why, beside the paper's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from silmm.bench.leaderboard.published import COLUMNS, TABLE1, same_column
from silmm.bench.leaderboard.results import Number, Result
from silmm.printable import printable


@dataclass(frozen=True)
class BoardCell:
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
    cells: Mapping[str, BoardCell]
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
    """Differences in how images were sampled, failed canaries, roles without a judge."""


def boards(results: Sequence[Result], *, details: bool = False, published: bool = True) -> list[Board]:
    """Return one board per benchmark and mode, in the order of the results.

    Args:
        results: what was measured.
        details: show columns that the paper's table does not have.
        published: put the paper's rows above.
    """
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.benchmark, result.mode), []).append(result)
    return [_board(group, details, published) for group in groups.values()]


def difference(first: Mapping[str, Any], second: Mapping[str, Any], path: str = "") -> list[str]:
    """Return what differs between two cards' parts, as ``judges.vqa.weights_sha256: 'a' / 'b'``."""
    lines = []
    for key in sorted({*first, *second}):
        left, right = first.get(key), second.get(key)
        name = f"{path}{printable(str(key))}"
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            lines += difference(left, right, f"{name}.")
        elif left != right:
            lines.append(f"{name}: {_short(left)} / {_short(right)}")
    return lines


def _short(value: Any) -> str:
    text = "nothing" if value is None or value == {} else printable(str(value))
    return text if len(text) <= 40 else f"{text[:37]}…"


def _board(group: Sequence[Result], details: bool, published: bool) -> Board:
    first = group[0]
    columns = _columns(group, details)
    headline = _headline(first.benchmark, columns)
    reasons = _reasons(group, headline)

    def value(result: Result) -> float:
        return result.numbers[headline].value or 0.0

    comparable = sorted((result for result in group if not reasons[id(result)]), key=value, reverse=True)
    ranks = {
        id(result): 1 + sum(value(other) > value(result) for other in comparable) for result in comparable
    }
    measured = [
        Line(
            name=result.model, rank=ranks.get(id(result)) if len(comparable) > 1 else None,
            cells={name: _cell(result.numbers.get(name)) for name in columns},
            published=False, why_not=reasons[id(result)],
        )
        for result in (*comparable, *(result for result in group if reasons[id(result)]))
    ]
    return Board(
        benchmark=first.benchmark, title=first.title, mode=first.mode, columns=columns, headline=headline,
        lines=(*(_published_lines(first, columns) if published else ()), *measured), remarks=tuple(_remarks(group)),
    )


def _columns(group: Sequence[Result], details: bool) -> tuple[str, ...]:
    return tuple(dict.fromkeys(
        number.name for result in group for number in result.numbers.values() if details or not number.detail
    ))


def _headline(benchmark: str, columns: Sequence[str]) -> str:
    """Return Overall where there is one, else the paper's first column, else the last one."""
    for preferred in ("Overall", *COLUMNS.get(benchmark, ())):
        for name in columns:
            if same_column(name, preferred):
                return name
    return columns[-1]


def _reasons(group: Sequence[Result], headline: str) -> dict[int, str]:
    """Say of each result why it is not ranked; the card that most full results have is the measure."""
    reasons: dict[int, str] = {}
    for result in group:
        number = result.numbers.get(headline)
        if result.marks:
            reasons[id(result)] = "; ".join(result.marks)
        elif result.canaries_failed:
            reasons[id(result)] = f"judges that fail canaries: {', '.join(sorted(result.canaries_failed))}"
        elif number is None or number.value is None:
            reasons[id(result)] = f"no value of {headline}{f': {number.note}' if number and number.note else ''}"
        else:
            reasons[id(result)] = ""
    full = [result for result in group if not reasons[id(result)]]
    if full:
        usual = max(full, key=lambda result: sum(other.scoring == result.scoring for other in full))
        for result in full:
            if result.scoring != usual.scoring:
                fields = "; ".join(difference(result.scoring, usual.scoring)[:4])
                reasons[id(result)] = f"another protocol than {usual.model} ({fields})"
    return reasons


def _cell(number: Number | None) -> BoardCell:
    if number is None:
        return BoardCell(None)
    return BoardCell(number.value, number.low, number.high, number.prompts, number.images, number.note)


def _published_lines(first: Result, columns: Sequence[str]) -> list[Line]:
    lines = []
    names = COLUMNS.get(first.benchmark, ())
    for row in TABLE1:
        numbers = dict(zip(names, row.numbers.get(first.benchmark, ()), strict=True))
        cells = {
            name: BoardCell(value / 100)
            for name in columns for printed, value in numbers.items()
            if value is not None and same_column(name, printed)
        }
        if cells:
            filled = {name: cells.get(name, BoardCell(None)) for name in columns}
            lines.append(Line(row.method, None, filled, published=True))
    return lines


def _remarks(group: Sequence[Result]) -> list[str]:
    remarks = []
    for result in group[1:]:
        fields = difference(group[0].sampling, result.sampling)
        if fields:
            remarks.append(f"{group[0].model} and {result.model} were sampled differently: {'; '.join(fields)}")
    for result in group:
        if result.left_out:
            remarks.append(f"{result.model}: no judge for {', '.join(result.left_out)}")
        remarks += result.canary_texts()
    return remarks
