"""How a finished run is shown: a table for people, one object for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from silmm_cli.display import clock

if TYPE_CHECKING:
    from silmm.engine.run import RunResult


def as_object(result: RunResult, page: Path | None) -> dict[str, Any]:
    """Return what `--json` prints; `overall` is null where nothing was evaluated."""
    adapters = list(result.adapters.values())
    unfinished: dict[str, Any] = {"overall": None, "categories": {}}
    return {
        **(result.summary or unfinished),
        "wall_seconds": dict(result.timings),
        "run_dir": str(result.run_dir),
        "report": str(page) if page else None,
        "adapter": str(adapters[-1]) if adapters else None,
    }


def print_outcome(result: RunResult, page: Path | None, console: Console) -> None:
    """Print the table of the evaluation, if there was one, and where everything lies."""
    answer = as_object(result, page)
    if answer["overall"]:
        console.print(outcome_table(answer))
    if answer.get("judge_model"):
        line = f"judge    {answer['judge_model']} answered, not the model itself"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for name in ("run_dir", "report", "adapter"):
        if answer[name]:
            label = name.removesuffix("_dir")
            line = f"{label:<8} {answer[name]}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    spent = sum(float(seconds) for seconds in result.timings.values())
    console.print(f"time     {clock(spent)}", highlight=False)


def outcome_table(summary: Mapping[str, Any]) -> Table:
    """Build the table: overall, each category, then what stands beside the headline."""
    partial = " · PARTIAL (--limit): not a benchmark result" if summary.get("partial") else ""
    title = f"{summary.get('benchmark', 'benchmark')}: {summary.get('metric', 'score')}{partial}"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("")
    for name in ("before", "after", "difference", "95% interval", "n"):
        table.add_column(name, justify="right")
    table.add_row(*_cells("overall", summary["overall"]), style="bold")
    table.add_section()
    for name, figures in summary.get("categories", {}).items():
        table.add_row(*_cells(name, figures))
    if summary.get("secondary"):
        table.add_section()
    for name, figures in summary.get("secondary", {}).items():
        table.add_row(*_cells(name, figures), style="dim")
    return table


def _cells(name: str, figures: Mapping[str, Any]) -> tuple[Text | str, ...]:
    low, high = _number(figures["ci_low"]), _number(figures["ci_high"])
    arrow, style = ("↑", "green") if low > 0 else ("↓", "red") if high < 0 else ("·", "")
    interval = "–" if math.isnan(low) or math.isnan(high) else f"[{low:+.3f}, {high:+.3f}]"
    return (
        name,
        f"{figures['before']:.3f}",
        f"{figures['after']:.3f}",
        Text(f"{figures['diff']:+.3f} {arrow}", style=style),
        interval,
        f"{figures['n']:d}",
    )


def _number(value: object) -> float:
    """Read a figure of the summary; null (no interval with one prompt) is NaN."""
    return float(value) if isinstance(value, int | float) else math.nan
