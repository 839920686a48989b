"""The evaluation in a report: headline, categories, secondary measures, iterations, self-feedback, counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from silmm.rendering.result_table import (
    NONE,
    Cell,
    Column,
    ResultTable,
    Row,
    difference_columns,
    difference_row,
    interval,
    is_finite,
    number,
    text_table,
)
from silmm.report.charts import interval_bar, interval_chart
from silmm.report.diversity import FACTS
from silmm.report.reading import IterationRecord, RunRecord, by_iteration
from silmm.report.sections import Block, Charts, Heading, HeadlineFigures, Paragraph, Section, Table

FEEDBACK: Mapping[str, str] = {
    "auc": 'AUC of the score for "all facts hold", over all candidates',
    "auc_within_prompt": "the same within a prompt",
    "feedback_images": "candidates compared",
    "feedback_left_out": "candidates left out (no score, or a prompt that the judge cannot read)",
    "candidates_facts_mean": "share of facts that hold: mean of all candidates",
    "candidates_facts_best_by_own_score": "share of facts that hold: best of each prompt by self-score",
    "candidates_facts_best_by_judge": "share of facts that hold: best of each prompt by the judge",
}
"""Figure of the benchmark -> its label."""
COUNTS = frozenset({"feedback_images", "feedback_left_out"})
"""Figures that are whole numbers, although they are stored as floats like the rest."""


def headline(run: RunRecord) -> Block:
    """Return the large figures at the top, or a note that there is no evaluation."""
    overall = run.summary.get("overall")
    if not overall:
        return Paragraph("This run has no evaluation yet.", "note")
    interval_text = interval(overall.get("ci_low"), overall.get("ci_high"), signed=True)
    figures = [
        (f"{number(overall['before'])} → {number(overall['after'])}", f"{_metric(run)}, before → after"),
        (number(overall["diff"], signed=True), f"difference, 95% interval {interval_text}"),
        (str(overall["n"]), "held-out prompts"),
    ]
    auc = run.summary.get("extra", {}).get("auc")
    if auc is not None:
        figures.append((number(auc), "AUC of the self-feedback against the judge"))
    return HeadlineFigures(figures)


def evaluation(run: RunRecord) -> Section | None:
    """Return the tables of the evaluation."""
    summary = run.summary
    if not summary.get("overall"):
        return None
    blocks: list[Block] = []
    if summary.get("partial"):
        blocks.append(Paragraph("Partial run (--limit): these are not benchmark results.", "note"))
    blocks.append(_differences({"overall": summary["overall"], **summary.get("categories", {})}, total=True))
    if summary.get("secondary"):
        blocks += [Heading("Secondary measures"), _differences(summary["secondary"])]
    if len(summary.get("iterations", {})) > 1:
        blocks += _iterations(run)
    return Section("Before and after", blocks)


def feedback(run: RunRecord) -> Section | None:
    """Return how far the run's self-scores agree with the judge."""
    extra: Mapping[str, Any] = run.summary.get("extra", {})
    names = [name for name in FEEDBACK if name in extra]
    names += [name for name in extra if name not in FEEDBACK and not name.startswith(FACTS)]
    if not names:
        return None
    rows = [
        [FEEDBACK.get(name, name), f"{extra[name]:.0f}" if name in COUNTS else _figure(extra[name])]
        for name in names
    ]
    return Section("Self-feedback against the judge", [Table(text_table(["figure", "value"], rows))])


def counts(iterations: Sequence[IterationRecord]) -> Section | None:
    """Return how much each stage kept and what was excluded, by reason."""
    rows = []
    for iteration in iterations:
        statuses: dict[str, int] = {}
        for score in iteration.scores:
            statuses[score["status"]] = statuses.get(score["status"], 0) + 1
        statuses.pop("ok", None)
        rows.append([
            str(iteration.number), str(len(iteration.prompts)), _reasons(iteration.rejected),
            str(len(iteration.scores)), _reasons(statuses), str(len(iteration.pairs)),
        ])
    if not rows:
        return None
    names = ["iteration", "prompts", "prompts rejected", "candidates", "candidates without a score", "pairs"]
    return Section("What was kept", [Table(text_table(names, rows, left=(0, 2, 4)))])


def _iterations(run: RunRecord) -> list[Block]:
    """Return each iteration's figures against the base, plotted and in a table."""
    measures = {_metric(run): run.summary["iterations"], **run.summary.get("secondary_by_iteration", {})}
    charts = []
    figures: dict[str, Mapping[str, Any]] = {}
    for measure, by_model in measures.items():
        numbered = {int(k): v for k, v in by_iteration(by_model).items() if str(k).isdecimal()}
        if not numbered:
            continue
        base = float(next(iter(numbered.values()))["before"])
        points = [
            (iteration, base + _nan(own["ci_low"]), float(own["after"]), base + _nan(own["ci_high"]))
            for iteration, own in numbered.items()
        ]
        charts.append(interval_chart(measure, base, points))
        figures |= {f"{measure}, iteration {iteration}": own for iteration, own in numbered.items()}
    note = "Whiskers: 95% interval of the paired difference to the base (iteration 0, dashed)."
    return [
        Heading("Each iteration against the base"), Charts(charts), Paragraph(note), _differences(figures),
    ]


def _differences(figures: Mapping[str, Mapping[str, Any]], *, total: bool = False) -> Table:
    """Return a table of before, after and difference with a bar per interval; with `total` the first row is one."""
    ends = [
        abs(own[key]) for own in figures.values() for key in ("ci_low", "ci_high", "diff")
        if is_finite(own.get(key))
    ]
    reach = max([*ends, 0.01]) * 1.05
    rows = [
        _with_bar(difference_row(name, own, style="total" if total and index == 0 else ""), own, reach)
        for index, (name, own) in enumerate(figures.items())
    ]
    *columns, n = difference_columns("before", "after", "n")
    return Table(ResultTable((*columns, Column(""), n), tuple(rows)))


def _with_bar(row: Row, figures: Mapping[str, Any], reach: float) -> Row:
    bar = interval_bar(_nan(figures["ci_low"]), float(figures["diff"]), _nan(figures["ci_high"]), reach)
    *cells, n = row.cells
    return replace(row, cells=(*cells, Cell("", drawing=bar), n))


def _metric(run: RunRecord) -> str:
    return str(run.summary.get("metric") or "score")


def _reasons(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(counted.items())) or NONE


def _figure(value: object) -> str:
    return number(value) if value is None or isinstance(value, int | float) else str(value)


def _nan(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
