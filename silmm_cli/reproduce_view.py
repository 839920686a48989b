"""How a reproduction is shown on a terminal: what there is, what a row comes to, the finished table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from silmm.reproduce.writing import caption, cell_parts, order_sentence

if TYPE_CHECKING:
    from silmm.reproduce.reproduction import Line, Reproduction


def print_experiments(found: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print the tables and figures, one a line."""
    table = Table(box=None, pad_edge=False)
    for name in ("name", "what", "rows", "models"):
        table.add_column(name, justify="right" if name == "rows" else "left")
    for one in found:
        models = ", ".join(one["models"]) + ("" if one["trains"] else " (no training)")
        table.add_row(one["name"], one["title"], str(one["rows"]), models)
    console.print(table)


def print_rows(title: str, rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print what each row would run."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in ("row", "model", "settings", "runs, or why there is none"):
        table.add_column(name, overflow="fold")
    for row in rows:
        settings = " ".join(f"{name}={value}" for name, value in row["settings"].items())
        runs = f"not possible: {row['reason']}" if row["reason"] else "\n".join(row["runs"])
        style = "dim" if row["reason"] else ""
        table.add_row(Text(row["row"]), row["model"], Text(settings or "–"), Text(runs, style=style))
    console.print(table)


def print_result(result: Reproduction, files: Sequence[Path], console: Console) -> None:
    """Print the table, what its numbers are, how its order compares, and where the files lie."""
    console.print(result_table(result))
    for status, names in result.without_numbers().items():
        console.print(f"{', '.join(names)}: {status}", markup=False, highlight=False, style="red")
    for text in (caption(result), *result.notes, *(f"{order_sentence(one)}." for one in result.orders)):
        console.print(text, markup=False, highlight=False, style="dim")
    for path in files:
        console.print(str(path), markup=False, highlight=False, soft_wrap=True)


def result_table(result: Reproduction) -> Table:
    """Build the table: a row's figure, its interval and the paper's number stand below each other."""
    table = Table(title=result.experiment.title, title_justify="left", title_style="bold", show_lines=True)
    table.add_column("")
    for column in result.columns:
        table.add_column(column.name, justify="right")
    for line in result.lines:
        cells = [_cell(cell_parts(result, line, column)) for column in result.columns]
        table.add_row(_name(result.label(line), line), *cells)
    return table


def _name(label: str, line: Line) -> Text:
    text = Text(label, style="bold")
    if line.status:
        text.append("\nfailed" if line.plan.failed else "\nnot possible", style="red")
    return text


def _cell(parts: Sequence[str]) -> Text:
    text = Text()
    for index, part in enumerate(parts):
        text.append("\n" if index else "").append(part, style="dim" if part.startswith("paper") else "")
    return text if parts else Text("–", style="dim")
