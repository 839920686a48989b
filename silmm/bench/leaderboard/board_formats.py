"""A leaderboard as tables and as files: Markdown, LaTeX, CSV, JSON and HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from silmm.bench.leaderboard.published import SOURCE
from silmm.bench.leaderboard.ranking import Board, BoardCell, Line
from silmm.rendering.result_table import NONE, UP, Cell, Column, ResultTable, Row, is_finite, number
from silmm.rendering.table_formats import json_text, to_csv, to_html, to_latex, to_markdown

CSV_COLUMNS = (
    *("benchmark", "mode", "rank", "model", "published", "column", "value", "low", "high", "prompts", "images"),
    *("note", "why_not"),
)


def board_table(board: Board, names: Sequence[str] | None = None) -> ResultTable:
    """Return a board with its notes: percent, half the width of the 95% interval below each number.

    Args:
        board: what to show.
        names: the columns to show; None: all. Published rows without a number in any of them are left out.
    """
    shown = board.columns if names is None else tuple(names)
    lines = [
        line for line in board.lines
        if not line.published or any(line.cells[name].value is not None for name in shown)
    ]
    rows = [
        Row(
            (Cell(rank_text(line)), Cell(line.name), *(_number_cell(line.cells[name]) for name in shown)),
            style="published" if line.published else "refused" if line.why_not else "",
            new_section=index > 0 and lines[index - 1].published and not line.published,
        )
        for index, line in enumerate(lines)
    ]
    numbers = (Column(name, higher_is_better=True) for name in shown)
    title = f"{board.title} · mode {board.mode} · ranked by {board.headline}"
    columns = (Column("rank", wrap=False), Column("model", "left"), *numbers)
    return ResultTable(columns, tuple(rows), title, tuple(footnotes(board)))


def rank_text(line: Line) -> str:
    """Return the content of the rank column."""
    if line.published:
        return "paper"
    return str(line.rank) if line.rank is not None else NONE


def _number_cell(cell: BoardCell) -> Cell:
    """Write a number as ``38.65 ± 1.20``: percent, half the width of the 95% interval."""
    if not (is_finite(cell.low) and is_finite(cell.high)):
        return Cell(number(cell.value, percent=True))
    return Cell(number(cell.value, percent=True), (f"± {50 * (cell.high - cell.low):.2f}",))


def footnotes(board: Board) -> list[str]:
    """Return the notes below a board: why rows are not ranked, notes of columns, units and n, the source."""
    notes = [f"{line.name} is not ranked: {line.why_not}" for line in board.lines if line.why_not]
    notes += [
        f"{line.name} has no rank: no other result here has its protocol"
        for line in board.lines if not line.published and line.rank is None and not line.why_not
    ]
    notes += [*_column_notes(board), *board.remarks, _units(board)]
    if any(line.published for line in board.lines):
        notes.append(f"paper: published in {SOURCE}; whether its protocol equals ours is not known")
    return notes


def _units(board: Board) -> str:
    """Say once for the whole board what its cells hold."""
    sizes = {
        name: sorted({line.cells[name].prompts or 0 for line in board.lines if not line.published} - {0})
        for name in board.columns
    }
    texts = {name: "/".join(map(str, prompts)) for name, prompts in sizes.items() if prompts}
    if len(set(texts.values())) == 1:
        n = next(iter(texts.values()))
    else:
        n = ", ".join(f"{name} {text}" for name, text in texts.items()) or "none"
    return f"percent, {UP} higher is better, ± half the 95% bootstrap interval over prompts; n: {n}"


def _column_notes(board: Board) -> list[str]:
    """Return the notes of cells, each once for all results that have it; without names where all have it."""
    measured = [line for line in board.lines if not line.published]
    models_by_note: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for line in measured:
        columns: dict[str, list[str]] = {}
        for name, cell in line.cells.items():
            if cell.note:
                columns.setdefault(cell.note, []).append(name)
        for text, names in columns.items():
            models_by_note.setdefault((text, tuple(names)), []).append(line.name)
    notes = []
    for (text, where), models in models_by_note.items():
        owners = "" if len(models) == len(measured) > 1 else f"{', '.join(models)}: "
        notes.append(f"{owners}{text} ({', '.join(where)})")
    return notes


def _records(boards: Sequence[Board]) -> Iterator[dict[str, Any]]:
    """Yield one record per row and column; numbers in full, as fractions of 1."""
    for board in boards:
        for line in board.lines:
            for name, cell in line.cells.items():
                yield {
                    **asdict(cell), "benchmark": board.benchmark, "mode": board.mode, "rank": line.rank,
                    "model": line.name, "published": int(line.published), "column": name, "why_not": line.why_not,
                }


FORMATS: Mapping[str, Callable[[Sequence[Board]], str]] = MappingProxyType({
    "md": lambda boards: to_markdown([board_table(board) for board in boards]),
    "latex": lambda boards: to_latex([board_table(board) for board in boards]),
    "csv": lambda boards: to_csv(CSV_COLUMNS, list(_records(boards))),
    "json": lambda boards: json_text([asdict(board) for board in boards]),
    "html": lambda boards: to_html([board_table(board) for board in boards], "Leaderboard"),
})
"""Name of `--format` -> its writer."""
