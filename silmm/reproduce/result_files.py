"""A finished reproduction as files: Markdown for people, CSV and JSON for programs, SVG and PNG of a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from silmm.rendering.result_table import NONE, Cell, Column, ResultTable, Row, interval, is_finite, number
from silmm.rendering.table_formats import escape_markdown, markdown_rows, to_csv
from silmm.reproduce.experiment import PaperColumn
from silmm.reproduce.measuring import MeasuredCell
from silmm.reproduce.ordering import Order
from silmm.reproduce.reproduction import Line, Reproduction
from silmm.reproduce.row_settings import first_sentence
from silmm.storage.atomic_files import atomic_write, make_folder
from silmm.storage.json_files import to_json

CSV_COLUMNS = (
    *("experiment", "group", "row", "model", "column", "status", "before", "value", "diff"),
    *("ci_low", "ci_high", "n", "seeds", "paper", "paper_diff", "settings", "runs", "reason"),
)


def write_results(result: Reproduction, out: Path) -> list[Path]:
    """Write NAME.md, NAME.csv and NAME.json into `out`, and NAME.svg and NAME.png of a figure; return their paths.

    Raises:
        OutOfSpace, DataError: a file could not be written.
    """
    make_folder(out)
    name = result.experiment.name
    files = {
        f"{name}.md": markdown(result).encode(),
        f"{name}.csv": to_csv(CSV_COLUMNS, _records(result)).encode(),
        f"{name}.json": to_json(as_object(result)),
    }
    if result.experiment.chart is not None:
        from silmm.reproduce.plotting import plot

        files |= {f"{name}.{form}": data for form, data in plot(result).items()}
    for file, data in files.items():
        atomic_write(out / file, data)
    return [out / file for file in files]


def paper_difference(result: Reproduction, line: Line, column: PaperColumn) -> float | None:
    """Return the paper's number of a row minus its number of the base model, if it has both."""
    paper = result.paper(line).get(column.name)
    for other in result.lines:
        same_model = other.plan.row.kind == line.plan.row.kind
        if same_model and other.plan.row.iteration == 0 and paper is not None:
            base = result.paper(other).get(column.name)
            return None if base is None else paper - base
    return None


def result_table(result: Reproduction) -> ResultTable:
    """Return the table: a row's figure, with its interval and the paper's number below it."""
    columns = (Column("", "left"), *(Column(column.name) for column in result.columns))
    rows = [
        Row((_name_cell(result, line), *(_cell(result, line, column) for column in result.columns)))
        for line in result.lines
    ]
    return ResultTable(columns, tuple(rows), result.experiment.title)


def _name_cell(result: Reproduction, line: Line) -> Cell:
    status = (first_sentence(line.status),) if line.status else ()
    return Cell(result.label(line), status, tone="strong")


def _cell(result: Reproduction, line: Line, column: PaperColumn) -> Cell:
    parts = []
    measured, is_base = line.cells.get(column.name), line.plan.row.iteration == 0
    if measured is not None:
        parts.append(number(measured.value))
        if not is_base:
            difference = "" if measured.diff is None else f" ({number(measured.diff, signed=True)})"
            parts = [parts[0] + difference, *_interval(measured)]
    paper = result.paper(line).get(column.name)
    if paper is not None:
        step = paper_difference(result, line, column)
        parts.append(f"paper {paper:.2f}" + ("" if is_base or step is None else f" ({step:+.2f})"))
    return Cell(parts[0], tuple(parts[1:])) if parts else Cell(NONE)


def _interval(measured: MeasuredCell) -> list[str]:
    if not measured.has_interval:
        return []
    return [interval(measured.ci_low, measured.ci_high, signed=measured.diff is not None)]


def order_sentence(order: Order) -> str:
    """Describe how the rows of one column are ordered here and in the paper; it claims nothing."""
    rho = "undefined (all tied)" if order.spearman is None else f"{order.spearman:+.2f}"
    same = sum(agrees is True for _, _, agrees in order.separated)
    against = sum(agrees is False for _, _, agrees in order.separated)
    return (
        f"{order.column}: Spearman {rho} over {order.rows} rows; the intervals of {len(order.separated)} of "
        f"{order.pairs} pairs do not overlap, {same} of them in the paper's order, {against} against it"
    )


def markdown(result: Reproduction) -> str:
    """Return the page: caption, table, order of the rows, and the runs of each row."""
    experiment = result.experiment
    parts = [f"# {experiment.title}", experiment.about, caption(result)]
    if experiment.chart is not None:
        parts.append(f"![{experiment.title}]({experiment.name}.svg)")
    parts.append(markdown_rows(result_table(result), line_break=" <br>"))
    reasons = [
        f"- {escape_markdown(', '.join(names))}: {escape_markdown(text)}"
        for text, names in result.without_numbers().items()
    ]
    if reasons:
        parts += ["## Rows without numbers", "\n".join(reasons)]
    if result.notes:
        parts += ["## Notes", "\n".join(f"- {escape_markdown(note)}" for note in result.notes)]
    if result.orders:
        parts += ["## Order of the rows, here and in the paper", _order_text(result.orders)]
    parts += ["## Runs", _markdown_runs(result)]
    return "\n\n".join(parts) + "\n"


def caption(result: Reproduction) -> str:
    """Describe the numbers: models, benchmark, seeds, measure, interval."""
    models = ", ".join(dict.fromkeys(line.plan.model for line in result.lines))
    seeds = result.request.seeds
    if result.experiment.measure == "benchmark":
        cells = (
            f"Each cell: {result.metric} after, difference to the base model, 95% interval of the difference "
            "(bootstrap over prompts)"
        )
        has_paper = any(result.paper(line) for line in result.lines)
        cells += ", then the paper's number and its difference to the paper's base model." if has_paper else "."
    else:
        cells = f"Each cell: mean {result.metric} of the candidates, 95% interval (bootstrap over prompts)."
    runs = f"mean over {seeds} seeds" if seeds > 1 else "1 seed"
    return f"Model: {models}. Benchmark: {result.request.benchmark}. {runs}. {cells}"


def _records(result: Reproduction) -> list[dict[str, Any]]:
    """Return one record per row and column."""
    return [
        {
            **line, **numbers, "column": column, "experiment": result.experiment.name,
            "settings": " ".join(f"{name}={value}" for name, value in line["settings"].items()),
            "runs": " ".join(line["runs"]),
        }
        for line in _objects(result) for column, numbers in line["columns"].items()
    ]


def as_object(result: Reproduction) -> dict[str, Any]:
    """Return everything as JSON-able data; numbers that are not finite are null."""
    return {
        "about": result.experiment.about,
        "benchmark": result.request.benchmark,
        "caption": caption(result),
        "experiment": result.experiment.name,
        "metric": result.metric,
        "notes": list(result.notes),
        "order": [
            {
                "column": order.column, "rows": order.rows, "spearman": order.spearman, "pairs": order.pairs,
                "separated": [
                    {"higher": high, "lower": low, "paper_agrees": agrees}
                    for high, low, agrees in order.separated
                ],
            }
            for order in result.orders
        ],
        "quick": result.request.quick,
        "rows": _objects(result),
        "seeds": result.request.seeds,
        "shared": {run: dict(stages) for run, stages in result.shared.items()},
        "title": result.experiment.title,
    }


def _objects(result: Reproduction) -> list[dict[str, Any]]:
    state = {True: "failed", False: "not possible"}
    return [
        {
            "group": line.plan.row.group, "row": line.name, "model": line.plan.model,
            "status": state[line.plan.failed] if line.plan.reason else "done", "reason": line.plan.reason,
            "settings": dict(line.plan.changes), "runs": list(line.plan.runs), "seeds": result.request.seeds,
            "iteration": line.plan.row.iteration,
            "columns": {column.name: _numbers(result, line, column) for column in result.columns},
        }
        for line in result.lines
    ]


def _numbers(result: Reproduction, line: Line, column: PaperColumn) -> dict[str, Any]:
    measured = line.cells.get(column.name)
    names = ("before", "value", "diff", "ci_low", "ci_high", "n")
    values = {name: getattr(measured, name, None) for name in names}
    step = paper_difference(result, line, column)
    return {
        **{name: value if is_finite(value) else None for name, value in values.items()},
        "paper": result.paper(line).get(column.name), "paper_diff": None if step is None else round(step, 4),
    }


def _order_text(orders: Sequence[Order]) -> str:
    lines = ["Rows ranked by our figure and by the paper's. Intervals are those of the differences to the base.\n"]
    for order in orders:
        lines.append(f"- {order_sentence(order)}.")
        words = {True: "as in the paper", False: "against the paper", None: "tied in the paper"}
        lines += [f"    - {high} above {low}: {words[agrees]}" for high, low, agrees in order.separated]
    return "\n".join(lines)


def _markdown_runs(result: Reproduction) -> str:
    lines = ["Each run is an ordinary silmm run directory below `runs/`.\n"]
    for line in result.lines:
        changes = ", ".join(f"{name}={value}" for name, value in line.plan.changes.items())
        runs = ", ".join(f"`{run}`" for run in line.plan.runs) or "no run"
        settings = escape_markdown(changes) or "the base settings"
        lines.append(f"- {escape_markdown(result.label(line))}: {runs} ({settings})")
    for run, stages in result.shared.items():
        reused = ", ".join(f"{stage} from `{donor}`" for stage, donor in stages.items())
        lines.append(f"- `{run}` reused {reused}")
    return "\n".join(lines)
