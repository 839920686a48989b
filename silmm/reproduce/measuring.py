"""Numbers of finished runs: the figure of each column of a row, with its interval over prompts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from silmm.bench.statistics import RESAMPLES, cluster_means, paired_difference
from silmm.errors import DataError
from silmm.report.reading import all_rows, read_run, stored_shards
from silmm.reproduce.experiment import OVERALL, PaperColumn

Floats: TypeAlias = npt.NDArray[np.float64]
BEFORE = "before"
BEST_OF, SPREAD = PaperColumn("best of each prompt"), PaperColumn("spread in a prompt")
"""Columns of score experiments besides the means: over all prompts."""
_AGREE = 1e-9
"""How far the means over prompts may be from the benchmark's own figure: rounding of sums."""
_CELLS = 4_000_000


@dataclass(frozen=True)
class MeasuredCell:
    """One figure of a row."""

    value: float
    """After the training; for scores, the figure itself."""
    ci_low: float
    """95% interval: of `diff` where there is one, else of `value`; NaN where it has none."""
    ci_high: float
    n: int
    """Prompts."""
    before: float | None = None
    diff: float | None = None

    @property
    def has_interval(self) -> bool:
        """Whether both ends are finite."""
        return math.isfinite(self.ci_low) and math.isfinite(self.ci_high)


@dataclass(frozen=True)
class PromptMeans:
    """The benchmark's measure per prompt, mean over its images, before and after."""

    categories: tuple[str, ...]
    before: Floats
    after: Floats

    def members(self, column: PaperColumn) -> list[npt.NDArray[np.intp]]:
        """Return the prompts of each category of a column that has any; one group of all for `overall`."""
        if column == OVERALL:
            return [np.arange(len(self.categories))]
        groups = (
            np.flatnonzero([same_category(name, own) for own in self.categories]) for name in column.categories
        )
        return [rows for rows in groups if len(rows)]


def same_category(first: str, second: str) -> bool:
    """Compare category names as benchmarks spell them: `3d-spatial` is `3d_spatial`."""
    return first.lower().replace("-", "_") == second.lower().replace("-", "_")


def benchmark_cells(
    runs: Sequence[Path], columns: Sequence[PaperColumn], iteration: int | None
) -> dict[str, MeasuredCell]:
    """Return the cell of each column that the benchmark has figures for, means over the runs (seeds).

    A column of several categories is their mean, as in the paper. Intervals are over prompts: from the figures of
    each prompt where the benchmark kept them, else combined from the summaries.

    Args:
        runs: finished runs that differ in their seed alone.
        columns: the columns to measure.
        iteration: 0 for the base model, N for iteration N, None for the last.
    """
    means = [_prompt_means(run, iteration) for run in runs]
    complete = [run_means for run_means in means if run_means is not None]
    if len(complete) < len(runs) or any(other.categories != complete[0].categories for other in complete):
        return _from_summaries(runs, columns, iteration)
    pooled = PromptMeans(
        complete[0].categories,
        np.mean([run_means.before for run_means in complete], axis=0),
        np.mean([run_means.after for run_means in complete], axis=0),
    )
    return {
        column.name: _difference(pooled, rows)
        for column in columns if (rows := pooled.members(column))
    }


def _prompt_means(run: Path, iteration: int | None) -> PromptMeans | None:
    """Read the share of facts that hold per prompt; None where the benchmark keeps no such figures."""
    record = read_run(run)
    tuned = [name for name in record.images if name != BEFORE]
    if BEFORE not in record.images or not tuned:
        return None
    after = {None: tuned[-1], 0: BEFORE}.get(iteration, str(iteration))
    sides = {}
    for name in dict.fromkeys((BEFORE, after, tuned[-1])):
        if name not in record.images:
            return None
        sides[name] = _shares(record.images[name])
        if sides[name] is None or sides[name][0] != sides[BEFORE][0]:
            return None
    overall = record.summary["overall"]
    ends = {BEFORE: overall["before"], tuned[-1]: overall["after"]}
    if any(abs(sides[name][2].mean() - value) > _AGREE for name, value in ends.items()):
        return None  # the benchmark's headline is another measure than the share of facts
    return PromptMeans(sides[BEFORE][1], sides[BEFORE][2], sides[after][2])


def _shares(folder: Path) -> Any:  # (prompt ids, categories, means), or None
    try:
        columns = ["prompt_id", "category", "holds"]
        rows = [row for table in stored_shards(folder).tables(columns) for row in table.to_pylist()]
    except DataError:
        return None  # stored in another form than the report's
    category = {row["prompt_id"]: row["category"] for row in rows}
    if not rows or any(not row["holds"] for row in rows):
        return None
    names, means = cluster_means(
        np.array([np.mean(row["holds"]) for row in rows]), [row["prompt_id"] for row in rows]
    )
    return names, tuple(category[name] for name in names), means


def _difference(means: PromptMeans, groups: Sequence[npt.NDArray[np.intp]]) -> MeasuredCell:
    """Compare the means over categories; prompts are resampled inside each category."""
    if len(groups) == 1:
        pair = paired_difference(means.before[groups[0]], means.after[groups[0]])
        return MeasuredCell(pair.after, pair.ci_low, pair.ci_high, pair.n, pair.before, pair.diff)
    before = float(np.mean([means.before[rows].mean() for rows in groups]))
    after = float(np.mean([means.after[rows].mean() for rows in groups]))
    low, high = stratified_interval([means.after[rows] - means.before[rows] for rows in groups])
    return MeasuredCell(after, low, high, sum(len(rows) for rows in groups), before, after - before)


def stratified_interval(
    groups: Sequence[Floats], *, seed: int = 0, samples: int = RESAMPLES
) -> tuple[float, float]:
    """Return the 95% percentile interval of the mean over groups of the groups' means.

    The bootstrap resamples prompts inside each group, so that the share of each category stays.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros(samples)
    for values in groups:
        block = max(1, _CELLS // len(values))
        parts = [
            values[rng.integers(len(values), size=(min(block, samples - start), len(values)))].mean(axis=1)
            for start in range(0, samples, block)
        ]
        total += np.concatenate(parts)
    low, high = np.quantile(total / len(groups), [0.025, 0.975])
    return float(low), float(high)


def _from_summaries(
    runs: Sequence[Path], columns: Sequence[PaperColumn], iteration: int | None
) -> dict[str, MeasuredCell]:
    """Combine the runs' summaries.

    Categories are independent, so their half intervals add as squares; seeds share their prompts, so the ends of
    their intervals are averaged, which gives an interval for a single seed.
    """
    by_column: dict[str, list[MeasuredCell]] = {}
    for run in runs:
        summary = read_run(run).summary
        last = max([1, *(int(name) for name in summary["iterations"] if name.isdecimal())])
        for column in columns:
            parts = _summary_parts(summary, column, last if iteration is None else iteration, last)
            if parts:
                by_column.setdefault(column.name, []).append(_combined(parts))
    return {name: _mean_cell(cells) for name, cells in by_column.items() if len(cells) == len(runs)}


def _mean_cell(cells: Sequence[MeasuredCell]) -> MeasuredCell:
    def mean(name: str) -> float:
        return float(np.mean([getattr(cell, name) for cell in cells]))

    return MeasuredCell(
        mean("value"), mean("ci_low"), mean("ci_high"), cells[0].n, before=mean("before"), diff=mean("diff")
    )


def _summary_parts(
    summary: Mapping[str, Any], column: PaperColumn, iteration: int, last: int
) -> list[Mapping[str, Any]]:
    if column == OVERALL:
        figures = summary["overall"] if iteration in (0, last) else summary["iterations"].get(str(iteration))
        parts = [figures] if figures else []
    elif iteration in (0, last):  # the summary has categories of the last iteration alone
        parts = [
            figures for name in column.categories
            for own, figures in summary["categories"].items() if same_category(name, own)
        ]
    else:
        parts = []
    if iteration == 0:
        zero = {"diff": 0.0, "ci_low": 0.0, "ci_high": 0.0}
        return [{**figures, **zero, "after": figures["before"]} for figures in parts]
    return parts


def _combined(parts: Sequence[Mapping[str, Any]]) -> MeasuredCell:
    def mean(name: str) -> float:
        return float(np.mean([math.nan if part[name] is None else part[name] for part in parts]))

    def half(end: str) -> float:
        reach = [(math.nan if part[end] is None else part[end]) - part["diff"] for part in parts]
        return float(np.sqrt(np.sum(np.square(reach))) / len(parts))

    diff = mean("diff")
    return MeasuredCell(
        mean("after"), diff - half("ci_low"), diff + half("ci_high"), sum(int(part["n"]) for part in parts),
        mean("before"), diff,
    )


def own_columns(run: Path, columns: Sequence[PaperColumn]) -> list[PaperColumn]:
    """Return one column per category of the benchmark that none of `columns` covers."""
    covered = [name for column in columns for name in column.categories]
    return [
        PaperColumn(own, (own,)) for own in read_run(run).summary["categories"]
        if not any(same_category(own, name) for name in covered)
    ]


# --------------------------------------------------------------------------------------- self-scores

Scores: TypeAlias = "dict[str, tuple[str, list[float]]]"
"""Prompt -> its category and the scores of its candidates."""


def read_scores(run: Path) -> Scores:
    """Return the scores of the first iteration's candidates; candidates without a score are left out."""
    folder = run / "iter-1"
    category = {row["prompt_id"]: row["category"] for row in all_rows(folder / "prompts")}
    scores: Scores = {}
    for row in all_rows(folder / "scores"):
        if row["score"] is not None:
            scores.setdefault(row["prompt_id"], (category[row["prompt_id"]], []))[1].append(row["score"])
    return scores


def score_cells(runs: Sequence[Path], columns: Sequence[PaperColumn]) -> dict[str, MeasuredCell]:
    """Return the mean score of each column's prompts, the mean best of a prompt, and the mean spread.

    Runs (seeds) have prompts of their own, so the prompts of all runs are pooled. Intervals are over prompts.
    """
    from silmm.bench.statistics import mean_interval

    by_prompt = [prompt for run in runs for prompt in read_scores(run).values()]
    cells = {}
    for column in [*columns, OVERALL]:
        groups = column.categories if column != OVERALL else ("",)
        values = [
            means for name in groups
            if len(means := np.array([
                np.mean(scores) for own, scores in by_prompt if not name or same_category(name, own)
            ]))
        ]
        if values:
            cells[column.name] = MeasuredCell(
                float(np.mean([group.mean() for group in values])), *stratified_interval(values),
                n=sum(map(len, values)),
            )
    for column, figure in ((BEST_OF, max), (SPREAD, np.std)):
        numbers = np.array([float(figure(scores)) for _, scores in by_prompt])
        cells[column.name] = MeasuredCell(float(numbers.mean()), *mean_interval(numbers), n=len(numbers))
    return cells
