"""How benchmark results are shown on a terminal: scores, leaderboards, comparisons."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from silmm.bench.leaderboard.writing import UP, caption, footnotes, place
from silmm.storage.json_files import finite

if TYPE_CHECKING:
    from silmm.bench.leaderboard.comparing import Comparison
    from silmm.bench.leaderboard.ranking import Board, Cell, Line
    from silmm.bench.leaderboard.results import Result

NUMBER = 9
"""Places on the screen that a number of a leaderboard takes, its interval below it."""
RANK = 5
PADDING = 2


def score_object(found: Sequence[Result], out: Path) -> dict[str, Any]:
    """Return what `--json` prints: where results lie, with their columns."""
    return {
        "out": str(out),
        "results": [
            {
                "benchmark": one.benchmark,
                "mode": one.mode,
                "model": one.model,
                "result": str(one.path),
                "card_sha256": one.card_sha256,
                "marks": list(one.marks),
                "columns": {
                    name: {
                        "value": number.value, "low": number.low, "high": number.high,
                        "prompts": number.prompts, "images": number.images, "note": number.note,
                    }
                    for name, number in one.numbers.items()
                },
            }
            for one in found
        ],
    }


def print_scores(found: Sequence[Result], out: Path, console: Console, *, details: bool = False) -> None:
    """Print a table a result, then where everything lies."""
    for one in found:
        title = f"{one.title} · {one.model} · mode {one.mode}"
        console.print(title, markup=False, highlight=False, style="bold", soft_wrap=True)
        console.print(score_table(one, details=details))
        for mark in one.marks:
            _line(console, mark, "yellow")
        for role, failed in one.canaries_failed.items():
            _line(console, f"the judge for {role} fails canaries: {'; '.join(failed)}", "yellow")
        console.print(f"result   {one.path}", markup=False, highlight=False, soft_wrap=True)
    if not found:
        console.print(f"out      {out}", markup=False, highlight=False, soft_wrap=True)


def score_table(one: Result, *, details: bool = False) -> Table:
    """Build one result's table: a row a column of the benchmark, with `details` the finer ones below."""
    table = Table()
    table.add_column("")
    for name in (f"% {UP}", "95% interval", "prompts", "images"):
        table.add_column(name, justify="right", no_wrap=True)
    notes = any(number.note for number in one.numbers.values() if details or not number.detail)
    if notes:
        table.add_column("note", overflow="fold")
    for finer in (False, True) if details else (False,):
        for number in one.numbers.values():
            if number.detail != finer:
                continue
            value = "–" if number.value is None else f"{100 * number.value:.2f}"
            interval = (
                f"[{100 * number.low:.2f}, {100 * number.high:.2f}]"
                if number.low is not None and number.high is not None else "–"
            )
            cells = [number.name, value, interval, str(number.prompts), str(number.images)]
            if notes:
                cells.append(number.note)
            table.add_row(*map(Text, cells), style="dim" if finer else "")
        table.add_section()
    return table


def print_boards(boards: Sequence[Board], console: Console) -> None:
    """Print the leaderboards with their notes."""
    for board in boards:
        console.print(caption(board), markup=False, highlight=False, style="bold")
        for table in board_tables(board, console.width):
            console.print(table)
        for note in footnotes(board):
            _line(console, note, "dim")


def board_tables(board: Board, width: int) -> list[Table]:
    """Build a board's table; where not all columns fit into `width`, they are dealt out to several."""
    longest = max([len(line.name) for line in board.lines] + [len("model")])
    name_width = min(longest, max(12, width // 4))
    fit = max(1, (width - name_width - RANK - 2 * PADDING) // (NUMBER + PADDING))
    count = -(-len(board.columns) // fit) or 1
    size = -(-len(board.columns) // count)
    parts = [board.columns[i : i + size] for i in range(0, len(board.columns), size)] or [()]
    return [_board_table(board, part, name_width) for part in parts]


def _board_table(board: Board, columns: Sequence[str], name_width: int) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("rank", justify="right", no_wrap=True, min_width=RANK)
    table.add_column("model", overflow="fold", width=name_width)
    for name in columns:
        table.add_column(_head(name), justify="right", width=NUMBER)
    published = [line for line in board.lines if line.published and _any(line, columns)]
    for line in published:
        cells = [_cell(line.cells[name]) for name in columns]
        table.add_row(place(line), Text(line.name), *cells, style="dim", end_section=line is published[-1])
    for line in board.lines:
        if not line.published:
            cells = [_cell(line.cells[name]) for name in columns]
            table.add_row(place(line), Text(line.name), *cells, style="dim" if line.why_not else "")
    return table


def _any(line: Line, columns: Sequence[str]) -> bool:
    return any(line.cells[name].value is not None for name in columns)


def _head(name: str) -> Text:
    """Write a column's name so that it is cut between its words only, the arrow below."""
    cut = re.sub(r"(?<=[-_/])", "\n", name) if len(name) > NUMBER else name
    return Text(f"{cut}\n{UP}")


def _cell(cell: Cell) -> Text:
    """Write the number, and half its interval below."""
    if cell.value is None:
        return Text("–", style="dim")
    text = Text(f"{100 * cell.value:.2f}")
    if cell.low is not None and cell.high is not None:
        text.append(f"\n± {50 * (cell.high - cell.low):.2f}", style="dim")
    return text


def comparison_object(one: Comparison) -> dict[str, Any]:
    """Return what `compare --json` prints; an interval over one prompt is null."""
    columns = {name: finite(asdict(paired)) for name, paired in one.columns.items()}
    return {
        "benchmark": one.benchmark,
        "mode": one.first.mode,
        "first": {"model": one.first.model, "result": str(one.first.path)},
        "second": {"model": one.second.model, "result": str(one.second.path)},
        "columns": {name: {**figures, "n": one.columns[name].n} for name, figures in columns.items()},
        "warnings": list(one.warnings),
    }


def print_comparison(found: Sequence[Comparison], console: Console) -> None:
    """Print a table for each benchmark that two results have in common."""
    for one in found:
        title = f"{one.title} · {one.first.model} → {one.second.model} · mode {one.first.mode}"
        console.print(title, markup=False, highlight=False, style="bold", soft_wrap=True)
        table = Table()
        table.add_column("")
        for name in ("first", "second", "difference", "95% interval", "prompts"):
            table.add_column(name, justify="right", no_wrap=True)
        for name, paired in one.columns.items():
            low, high = 100 * paired.ci_low, 100 * paired.ci_high
            clear = paired.n > 1 and (low > 0 or high < 0)
            interval = f"[{low:+.2f}, {high:+.2f}]" if paired.n > 1 else "–"
            table.add_row(
                Text(name), f"{100 * paired.before:.2f}", f"{100 * paired.after:.2f}",
                f"{100 * paired.diff:+.2f}", Text(interval), str(paired.n), style="bold" if clear else "",
            )
        console.print(table)
        for warning in one.warnings:
            _line(console, warning, "yellow")


def _line(console: Console, text: str, style: str) -> None:
    console.print(text, markup=False, highlight=False, style=style)
