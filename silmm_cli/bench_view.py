"""How benchmark results are shown on a terminal: scores and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from silmm.rendering.result_table import (
    Column,
    ResultTable,
    Row,
    difference_columns,
    difference_row,
    interval,
    number,
    row,
)
from silmm.rendering.table_formats import to_rich
from silmm.storage.json_files import finite
from silmm_cli.console import print_line

if TYPE_CHECKING:
    from silmm.bench.leaderboard.comparing import Comparison
    from silmm.bench.leaderboard.results import Number, Result


def score_object(scored: Sequence[Result], out: Path) -> dict[str, Any]:
    """Return the object that `--json` prints: where the results are, with their columns."""
    return {
        "out": str(out),
        "results": [
            {
                "benchmark": result.benchmark,
                "mode": result.mode,
                "model": result.model,
                "result": str(result.path),
                "card_sha256": result.card_sha256,
                "marks": list(result.marks),
                "columns": {
                    name: {
                        "value": number.value, "low": number.low, "high": number.high,
                        "prompts": number.prompts, "images": number.images, "note": number.note,
                    }
                    for name, number in result.numbers.items()
                },
            }
            for result in scored
        ],
    }


def print_scores(scored: Sequence[Result], out: Path, console: Console, *, details: bool = False) -> None:
    """Print a table per result, then the path of its file."""
    for result in scored:
        print_line(console, f"{result.title} · {result.model} · mode {result.mode}", "bold")
        console.print(to_rich(score_table(result, details=details)))
        for warning in (*result.marks, *result.canary_texts()):
            print_line(console, warning, "yellow", wrap=True)
        print_line(console, f"result   {result.path}")
    if not scored:
        print_line(console, f"out      {out}")


def score_table(result: Result, *, details: bool = False) -> ResultTable:
    """Return one result's table: a row per column of the benchmark, with `details` the finer ones below."""
    main, finer = ([n for n in result.numbers.values() if n.detail is detail] for detail in (False, True))
    shown = [*main, *(finer if details else [])]
    has_notes = any(column.note for column in shown)
    columns = (
        Column("", "left"), Column("%", higher_is_better=True, wrap=False),
        *(Column(name, wrap=False) for name in ("95% interval", "prompts", "images")),
        *([Column("note", "left")] if has_notes else []),
    )
    return ResultTable(columns, tuple(
        _score_row(column, new_section=bool(finer) and column is finer[0], with_note=has_notes) for column in shown
    ))


def _score_row(column: Number, *, new_section: bool, with_note: bool) -> Row:
    cells = [
        column.name, number(column.value, percent=True), interval(column.low, column.high, percent=True),
        str(column.prompts), str(column.images), *([column.note] if with_note else []),
    ]
    return row(*cells, style="quiet" if column.detail else "", new_section=new_section)


def comparison_object(comparison: Comparison) -> dict[str, Any]:
    """Return the object that `compare --json` prints; an interval over one prompt is null."""
    return {
        "benchmark": comparison.benchmark,
        "mode": comparison.first.mode,
        "first": {"model": comparison.first.model, "result": str(comparison.first.path)},
        "second": {"model": comparison.second.model, "result": str(comparison.second.path)},
        "columns": {
            name: {**finite(asdict(difference)), "n": difference.n}
            for name, difference in comparison.columns.items()
        },
        "warnings": list(comparison.warnings),
    }


def print_comparison(comparisons: Sequence[Comparison], console: Console) -> None:
    """Print a table per benchmark that two results have in common."""
    for comparison in comparisons:
        first, second = comparison.first, comparison.second
        print_line(console, f"{comparison.title} · {first.model} → {second.model} · mode {first.mode}", "bold")
        rows = [
            difference_row(name, asdict(difference), percent=True) for name, difference in comparison.columns.items()
        ]
        console.print(to_rich(ResultTable(difference_columns("first", "second", "prompts"), tuple(rows))))
        for warning in comparison.warnings:
            print_line(console, warning, "yellow", wrap=True)
