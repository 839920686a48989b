"""A finished reproduction as files: Markdown and CSV for people, JSON for programs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from silmm.reproduce.experiment import Column
from silmm.reproduce.measuring import Cell
from silmm.reproduce.ordering import Order
from silmm.reproduce.reproduction import Line, Reproduction
from silmm.reproduce.resolving import first_sentence
from silmm.storage.atomic_files import atomic_write, make_folder
from silmm.storage.json_files import to_json

CSV_COLUMNS = (
    *("experiment", "group", "row", "model", "column", "status", "before", "value", "diff"),
    *("ci_low", "ci_high", "n", "seeds", "paper", "paper_diff", "settings", "runs", "reason"),
)


def write_results(result: Reproduction, out: Path) -> list[Path]:
    """Write NAME.md, NAME.csv and NAME.json into `out`, and NAME.svg and NAME.png of a figure.

    Raises:
        OutOfSpace, DataError: a file could not be written.
    """
    make_folder(out)
    name = result.experiment.name
    files = {
        f"{name}.md": markdown(result).encode(),
        f"{name}.csv": as_csv(result).encode(),
        f"{name}.json": to_json(as_object(result)),
    }
    if result.experiment.chart is not None:
        from silmm.reproduce.plotting import sample

        files |= {f"{name}.{form}": data for form, data in sample(result).items()}
    for file, data in files.items():
        atomic_write(out / file, data)
    return [out / file for file in files]


def paper_difference(result: Reproduction, line: Line, column: Column) -> float | None:
    """Return the paper's number of a row minus its number of the base model, if it has both."""
    number = result.paper(line).get(column.name)
    for other in result.lines:
        same_model = other.plan.row.kind == line.plan.row.kind
        if same_model and other.plan.row.iteration == 0 and number is not None:
            base = result.paper(other).get(column.name)
            return None if base is None else number - base
    return None


def cell_parts(result: Reproduction, line: Line, column: Column) -> list[str]:
    """Return what stands in a cell, part by part: our figure, its interval, the paper's."""
    parts = []
    cell = line.cells.get(column.name)
    if cell is not None and line.plan.row.iteration != 0:
        parts = [_figure(cell), _interval(cell)]
    elif cell is not None:
        parts = [f"{cell.value:.3f}"]
    number = result.paper(line).get(column.name)
    if number is not None:
        step = paper_difference(result, line, column)
        own = line.plan.row.iteration == 0 or step is None
        parts.append(f"paper {number:.2f}" + ("" if own else f" ({step:+.2f})"))
    return [part for part in parts if part]


def order_sentence(order: Order) -> str:
    """Write one column's comparison of orders, without a claim."""
    rho = "undefined (all tied)" if order.spearman is None else f"{order.spearman:+.2f}"
    same = sum(agrees is True for _, _, agrees in order.apart)
    against = sum(agrees is False for _, _, agrees in order.apart)
    return (
        f"{order.column}: Spearman {rho} over {order.rows} rows; the intervals of {len(order.apart)} of "
        f"{order.pairs} pairs do not overlap, {same} of them in the paper's order, {against} against it"
    )


def markdown(result: Reproduction) -> str:
    """Return the page: caption, table, order of the rows, and where each row comes from."""
    experiment = result.experiment
    parts = [f"# {experiment.title}", experiment.about, caption(result)]
    if experiment.chart is not None:
        parts.append(f"![{experiment.title}]({experiment.name}.svg)")
    parts.append(_markdown_table(result))
    reasons = [
        f"- {_plain(', '.join(names))}: {_plain(text)}" for text, names in result.without_numbers().items()
    ]
    if reasons:
        parts += ["## Rows without numbers", "\n".join(reasons)]
    if result.notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in result.notes)]
    if result.orders:
        parts += ["## Order of the rows, here and in the paper", _order_text(result.orders)]
    parts += ["## Runs", _markdown_runs(result)]
    return "\n\n".join(parts) + "\n"


def caption(result: Reproduction) -> str:
    """Say what the numbers are: models, benchmark, seeds, measure, interval."""
    models = ", ".join(dict.fromkeys(line.plan.model for line in result.lines))
    seeds = result.request.seeds
    if result.experiment.measure == "benchmark":
        what = (
            f"Each cell: {result.metric} after, difference to the base model, 95% interval of the difference "
            "(bootstrap over prompts)"
        )
        has_paper = any(result.paper(line) for line in result.lines)
        what += ", then the paper's own number and its difference to its base." if has_paper else "."
    else:
        what = f"Each cell: mean {result.metric} of the candidates, 95% interval (bootstrap over prompts)."
    over = f"mean over {seeds} seeds" if seeds > 1 else "1 seed"
    return f"Model: {models}. Benchmark: {result.request.benchmark}. {over}. {what}"


def as_csv(result: Reproduction) -> str:
    """Return one line for each row and column."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for line in _objects(result):
        for column, numbers in line.pop("columns").items():
            row = {**line, **numbers, "column": column, "experiment": result.experiment.name}
            row["settings"] = " ".join(f"{name}={value}" for name, value in line["settings"].items())
            row["runs"] = " ".join(line["runs"])
            writer.writerow({name: row.get(name) for name in CSV_COLUMNS})
    return text.getvalue()


def as_object(result: Reproduction) -> dict[str, Any]:
    """Return everything as JSON-able data; what is not finite is null."""
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
                "apart": [
                    {"higher": high, "lower": low, "paper_agrees": agrees}
                    for high, low, agrees in order.apart
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


def _numbers(result: Reproduction, line: Line, column: Column) -> dict[str, Any]:
    cell = line.cells.get(column.name)
    ours = {
        name: _finite(getattr(cell, name)) if cell else None
        for name in ("before", "value", "diff", "ci_low", "ci_high", "n")
    }
    step = paper_difference(result, line, column)
    return {
        **ours,
        "paper": result.paper(line).get(column.name), "paper_diff": None if step is None else round(step, 4),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _figure(cell: Cell) -> str:
    return f"{cell.value:.3f}" + ("" if cell.diff is None else f" ({cell.diff:+.3f})")


def _interval(cell: Cell) -> str:
    if not cell.has_interval:
        return ""
    sign = "+" if cell.diff is not None else ""
    return f"[{cell.ci_low:{sign}.3f}, {cell.ci_high:{sign}.3f}]"


def _markdown_table(result: Reproduction) -> str:
    rows = [["", *(column.name for column in result.columns)], ["---"] * (len(result.columns) + 1)]
    for line in result.lines:
        name = _plain(result.label(line))
        if line.status:
            name += f"<br>*{_plain(first_sentence(line.status))}*"
        cells = [" <br>".join(cell_parts(result, line, column)) or "–" for column in result.columns]
        rows.append([name, *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _order_text(orders: Sequence[Order]) -> str:
    lines = ["Ranks by our figure and by the paper's. Intervals are those of the differences to the base.\n"]
    for order in orders:
        lines.append(f"- {order_sentence(order)}.")
        words = {True: "as in the paper", False: "against the paper", None: "tied in the paper"}
        lines += [f"    - {high} above {low}: {words[agrees]}" for high, low, agrees in order.apart]
    return "\n".join(lines)


def _markdown_runs(result: Reproduction) -> str:
    lines = ["Each run is an ordinary silmm run directory below `runs/`.\n"]
    for line in result.lines:
        changes = ", ".join(f"{name}={value}" for name, value in line.plan.changes.items())
        runs = ", ".join(f"`{run}`" for run in line.plan.runs) or "no run"
        lines.append(f"- {_plain(result.label(line))}: {runs} ({_plain(changes) or 'the base settings'})")
    for run, stages in result.shared.items():
        taken = ", ".join(f"{stage} from `{donor}`" for stage, donor in stages.items())
        lines.append(f"- `{run}` took over {taken}")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Return text that stays in its cell and is no markup."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
