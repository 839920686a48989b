"""Writes result tables for terminals, Markdown, LaTeX, CSV, JSON and HTML; no text becomes markup in any of them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from silmm.rendering.html_pages import render_page
from silmm.rendering.result_table import NONE, UP, Cell, Column, ResultTable, RowStyle, Tone

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}", '"': "''", "α": r"$\alpha$",
    "±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "·": r"$\cdot$", "–": "--", "…": r"\ldots{}",
})
_MARKDOWN = re.compile(r"[\\`*<>|#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|\](?=[(\[:])")
"""What could be markup: a bracket only where it could end the text of a link, an underscore only beside a word."""
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_TONE_STYLES: dict[Tone, str] = {
    "better": "green", "worse": "red", "strong": "bold", "quiet": "dim", "warning": "yellow",
}
_ROW_STYLES: dict[RowStyle, str] = {
    "total": "bold", "quiet": "dim", "published": "dim", "refused": "dim", "warning": "red",
}
Box = Literal["heavy", "simple", "head", "none"]


def to_rich(table: ResultTable, *, box: Box = "heavy", row_lines: bool = False) -> Table:
    """Return the table for a terminal; details stand below their cell's text.

    Args:
        table: what to show; its notes are the caller's to print.
        box: the frame: all cells, rows alone, a rule below the head, or nothing.
        row_lines: whether a rule separates all rows.
    """
    from rich import box as boxes
    from rich.table import Table
    from rich.text import Text

    frame = {"heavy": boxes.HEAVY_HEAD, "simple": boxes.SIMPLE, "head": boxes.SIMPLE_HEAD, "none": None}[box]
    shown = Table(
        box=frame, pad_edge=box == "heavy", show_lines=row_lines, title_justify="left", title_style="bold",
        title=Text(table.title) if table.title else None,
    )
    for column in table.columns:
        shown.add_column(
            Text(_head(column)), justify=column.align, no_wrap=not column.wrap, width=column.width, overflow="fold"
        )
    for row in table.rows:
        if row.new_section:
            shown.add_section()
        shown.add_row(*map(_rich_cell, row.cells), style=_ROW_STYLES.get(row.style, ""))
    return shown


def _head(column: Column) -> str:
    """Return the head of a column; in a narrow one the name breaks between its words, above the arrow."""
    if column.width is None:
        return column.label
    name = re.sub(r"(?<=[-_/])", "\n", column.name) if len(column.name) > column.width else column.name
    return f"{name}\n{UP}" if column.higher_is_better else name


def _rich_cell(cell: Cell) -> Text:
    from rich.text import Text

    text = Text(cell.text, style="dim" if cell.text == NONE else _TONE_STYLES.get(cell.tone, ""))
    for line in cell.details:
        text.append(f"\n{line}", style="dim")
    return text


def to_markdown(tables: Sequence[ResultTable]) -> str:
    """Return one section per table: its title, its rows, its notes as a list."""
    parts = []
    for table in tables:
        notes = [f"- {escape_markdown(note)}" for note in table.notes]
        parts.append("\n".join([f"### {escape_markdown(table.title)}", "", markdown_rows(table), "", *notes, ""]))
    return "\n".join(parts)


def markdown_rows(table: ResultTable, *, line_break: str = " ") -> str:
    """Return head and rows; `line_break` stands between a cell's text and its details."""
    lines = [
        [escape_markdown(column.label) for column in table.columns],
        ["---" if column.align == "left" else "---:" for column in table.columns],
    ]
    for row in table.rows:
        lines.append([line_break.join(map(escape_markdown, (cell.text, *cell.details))) for cell in row.cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def escape_markdown(text: str) -> str:
    """Return a text on one line that is no markup."""
    return _MARKDOWN.sub(r"\\\g<0>", _on_one_line(text))


def to_latex(tables: Sequence[ResultTable]) -> str:
    """Return one booktabs tabular per table, with its title above and its notes below as comments."""
    parts = []
    for table in tables:
        head = [_on_one_line(column.label).translate(_LATEX) for column in table.columns]
        body = [
            [_on_one_line(" ".join((cell.text, *cell.details))).translate(_LATEX) for cell in row.cells]
            for row in table.rows
        ]
        alignment = "".join(column.align[0] for column in table.columns)
        lines = [
            f"% {_on_one_line(table.title)}", rf"\begin{{tabular}}{{{alignment}}}", r"\toprule",
            " & ".join(head) + r" \\", r"\midrule", *(" & ".join(cells) + r" \\" for cells in body),
            r"\bottomrule", r"\end{tabular}", *(f"% {_on_one_line(note)}" for note in table.notes), "",
        ]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def to_csv(columns: Sequence[str], records: Sequence[dict[str, Any]]) -> str:
    """Return one line per record, numbers in full; a field that a record lacks is empty, and none is a formula."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_without_formula(record.get(column)) for column in columns] for record in records)
    return sink.getvalue()


def json_text(data: object) -> str:
    """Return one JSON document as people read it.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_html(tables: Sequence[ResultTable], title: str) -> str:
    """Return one page that needs no other file."""
    return render_page("silmm.rendering", "tables.html", title=title, tables=tables)


def _without_formula(value: object) -> object:
    """Keep spreadsheets from reading a text as a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
