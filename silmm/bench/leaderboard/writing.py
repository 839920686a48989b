"""A leaderboard as Markdown, LaTeX, CSV, JSON and HTML; names of models are nobody's markup."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType

from silmm.bench.leaderboard.published import SOURCE
from silmm.bench.leaderboard.ranking import Board, Cell, Line

UP = "↑"
"""Beside a column in which more is better."""
_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}", '"': "''", "α": r"$\alpha$",
    "±": r"$\pm$", "↑": r"$\uparrow$", "–": "--", "…": r"\ldots{}",
})
_MARKDOWN = str.maketrans({char: f"\\{char}" for char in "\\`*_[]<>|#"})


def shown(cell: Cell) -> str:
    """Return ``38.65 ± 1.20 (n 300)``: percent, half the width of the 95% interval, prompts."""
    if cell.value is None:
        return "–"
    text = f"{100 * cell.value:.2f}"
    if cell.low is not None and cell.high is not None:
        text += f" ± {50 * (cell.high - cell.low):.2f}"
    return text


def counted(board: Board) -> str:
    """Say what stands in the cells, once for the whole board."""
    sizes = {
        name: sorted({
            cell.prompts for line in board.lines if not line.published
            for cell in [line.cells[name]] if cell.prompts
        })
        for name in board.columns
    }
    distinct = {tuple(found) for found in sizes.values() if found}
    if len(distinct) == 1:
        told = "/".join(map(str, distinct.pop()))
    else:
        told = ", ".join(f"{name} {'/'.join(map(str, found))}" for name, found in sizes.items() if found)
    interval = "± half the 95% bootstrap interval over prompts"
    return f"percent, {UP} higher is better, {interval}; n: {told or 'none'}"


def caption(board: Board) -> str:
    """Return the title line."""
    return f"{board.title} · mode {board.mode} · ranked by {board.headline}"


def place(line: Line) -> str:
    """Return what stands in the first column."""
    if line.published:
        return "paper"
    return str(line.rank) if line.rank is not None else "–"


def footnotes(board: Board) -> list[str]:
    """Return the remarks below a board: why rows are not ranked, notes of columns, the source."""
    notes = [f"{line.name} is not ranked: {line.why_not}" for line in board.lines if line.why_not]
    notes += [
        f"{line.name} has no rank: no other result here has its protocol"
        for line in board.lines if not line.published and line.rank is None and not line.why_not
    ]
    notes += _column_notes(board)
    notes += list(board.remarks)
    notes.append(counted(board))
    if any(line.published for line in board.lines):
        notes.append(f"paper: published in {SOURCE}; whether its protocol equals ours is not known")
    return notes


def _column_notes(board: Board) -> list[str]:
    """Return the notes of cells, each once for all results that have it; without names where all have it."""
    measured = [line for line in board.lines if not line.published]
    notes: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for line in measured:
        columns: dict[str, list[str]] = {}
        for name, cell in line.cells.items():
            if cell.note:
                columns.setdefault(cell.note, []).append(name)
        for text, names in columns.items():
            notes.setdefault((text, tuple(names)), []).append(line.name)
    found = []
    for (text, where), lines in notes.items():
        whose = "" if len(lines) == len(measured) > 1 else f"{', '.join(lines)}: "
        found.append(f"{whose}{text} ({', '.join(where)})")
    return found


def _rows(board: Board) -> Iterator[list[str]]:
    yield ["", "model", *(f"{name} {UP}" for name in board.columns)]
    for line in board.lines:
        yield [place(line), line.name, *(shown(line.cells[name]) for name in board.columns)]


def to_markdown(boards: Sequence[Board]) -> str:
    """Return a table a board, with its notes as a list."""
    parts = []
    for board in boards:
        head, *body = [[_flat(cell).translate(_MARKDOWN) for cell in row] for row in _rows(board)]
        lines = [f"### {_flat(caption(board)).translate(_MARKDOWN)}", "", _bar(head)]
        lines.append(_bar(["---", "---", *("---:" for _ in board.columns)]))
        lines += [_bar(row) for row in body]
        lines += ["", *(f"- {_flat(note).translate(_MARKDOWN)}" for note in footnotes(board)), ""]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def to_latex(boards: Sequence[Board]) -> str:
    """Return a booktabs tabular a board, its notes as comments below."""
    parts = []
    for board in boards:
        head, *body = [[_flat(cell).translate(_LATEX) for cell in row] for row in _rows(board)]
        lines = [
            f"% {_flat(caption(board))}", rf"\begin{{tabular}}{{ll{'r' * len(board.columns)}}}", r"\toprule",
            " & ".join(head) + r" \\", r"\midrule", *(" & ".join(row) + r" \\" for row in body),
            r"\bottomrule", r"\end{tabular}", *(f"% {_flat(note)}" for note in footnotes(board)), "",
        ]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def to_csv(boards: Sequence[Board]) -> str:
    """Return one line for each row and column; numbers in full, as fractions of 1."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow([
        "benchmark", "mode", "rank", "model", "published", "column", "value", "low", "high", "prompts",
        "images", "note", "why_not",
    ])
    for board in boards:
        for line in board.lines:
            for name, cell in line.cells.items():
                writer.writerow([
                    _safe(board.benchmark), _safe(board.mode), line.rank, _safe(line.name),
                    int(line.published), _safe(name), cell.value, cell.low, cell.high, cell.prompts,
                    cell.images, _safe(cell.note), _safe(line.why_not),
                ])
    return sink.getvalue()


def to_json(boards: Sequence[Board]) -> str:
    """Return all boards as one JSON document."""
    data = [asdict(board) for board in boards]
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_html(boards: Sequence[Board]) -> str:
    """Return one page that needs nothing beside it; every text is escaped."""
    parts = [_HEAD]
    for board in boards:
        head, *body = _rows(board)
        parts.append(f"<h2>{html.escape(caption(board))}</h2>\n<table>\n<tr>")
        parts += [f"<th>{html.escape(cell)}</th>" for cell in head]
        parts.append("</tr>\n")
        for line, row in zip(board.lines, body, strict=True):
            kind = "published" if line.published else "refused" if line.why_not else "ranked"
            parts.append(f'<tr class="{kind}">')
            parts += [f"<td>{html.escape(cell)}</td>" for cell in row]
            parts.append("</tr>\n")
        notes = "".join(f"<li>{html.escape(note)}</li>\n" for note in footnotes(board))
        parts.append(f"</table>\n<ul>\n{notes}</ul>\n")
    return "".join(parts) + "</body></html>\n"


FORMATS: Mapping[str, Callable[[Sequence[Board]], str]] = MappingProxyType({
    "md": to_markdown, "latex": to_latex, "csv": to_csv, "json": to_json, "html": to_html,
})
"""Name of `--format` -> its writer."""

_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Leaderboard</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; }
th:nth-child(2), td:nth-child(2) {
  text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 12rem;
}
.published td { color: #666; } .refused td { color: #999; font-style: italic; }
</style></head><body>
"""


def _bar(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _flat(text: str) -> str:
    """Keep a text on one line."""
    return " ".join(text.split())


def _safe(text: str) -> str:
    """Keep spreadsheets from reading a name as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
