"""Numbers of finished runs: what stands in each column of a row, with its interval over prompts."""

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
from silmm.reproduce.experiment import OVERALL, Column

Floats: TypeAlias = npt.NDArray[np.float64]
BEFORE = "before"
BEST_OF, SPREAD = Column("best of each prompt"), Column("spread in a prompt")
"""Columns of score experiments besides the means: over all prompts."""
_AGREE = 1e-9
"""How far the means over prompts may be from the benchmark's own figure: rounding of sums."""
_CELLS = 4_000_000


@dataclass(frozen=True)
class Cell:
    """One number of ours."""

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
        """Whether both ends are numbers."""
        return math.isfinite(self.ci_low) and math.isfinite(self.ci_high)


@dataclass(frozen=True)
class PromptMeans:
    """The benchmark's measure for each prompt, mean over its images, before and after."""

    categories: tuple[str, ...]
    before: Floats
    after: Floats

    def members(self, column: Column) -> list[npt.NDArray[np.intp]]:
        """Return the prompts of each category of a column that there are; all as one for `overall`."""
        if column == OVERALL:
            return [np.arange(len(self.categories))]
        found = (
            np.flatnonzero([same_category(name, own) for own in self.categories])
            for name in column.categories
        )
        return [rows for rows in found if len(rows)]


def same_category(one: str, other: str) -> bool:
    """Compare category names as benchmarks spell them: `3d-spatial` is `3d_spatial`."""
    return one.lower().replace("-", "_") == other.lower().replace("-", "_")


def benchmark_cells(
    runs: Sequence[Path], columns: Sequence[Column], iteration: int | None
) -> dict[str, Cell]:
    """Return the cell of each column that the benchmark has figures for, means over the runs (seeds).

    A column of several categories is their mean, as in the paper. Intervals are over prompts: from each
    prompt's own figures where the benchmark kept them, else put together from the summaries.

    Args:
        runs: finished runs that differ in their seed alone.
        columns: what to return.
        iteration: whose figures: 0 the base, N after iteration N, None after the last.
    """
    means = [_prompt_means(run, iteration) for run in runs]
    known = [one for one in means if one is not None]
    if len(known) < len(runs) or any(one.categories != known[0].categories for one in known):
        return _from_summaries(runs, columns, iteration)
    pooled = PromptMeans(
        known[0].categories,
        np.mean([one.before for one in known], axis=0), np.mean([one.after for one in known], axis=0),
    )
    return {
        column.name: _difference(pooled, rows)
        for column in columns if (rows := pooled.members(column))
    }


def _prompt_means(run: Path, iteration: int | None) -> PromptMeans | None:
    """Read the share of facts that hold for each prompt; None where the benchmark keeps no such figures."""
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
        return None  # kept otherwise than the report knows
    category = {row["prompt_id"]: row["category"] for row in rows}
    if not rows or any(not row["holds"] for row in rows):
        return None
    names, means = cluster_means(
        np.array([np.mean(row["holds"]) for row in rows]), [row["prompt_id"] for row in rows]
    )
    return names, tuple(category[name] for name in names), means


def _difference(means: PromptMeans, groups: Sequence[npt.NDArray[np.intp]]) -> Cell:
    """Compare the means over categories; prompts are sampled anew inside each category."""
    if len(groups) == 1:
        one = paired_difference(means.before[groups[0]], means.after[groups[0]])
        return Cell(one.after, one.ci_low, one.ci_high, one.n, one.before, one.diff)
    before = float(np.mean([means.before[rows].mean() for rows in groups]))
    after = float(np.mean([means.after[rows].mean() for rows in groups]))
    low, high = stratified_interval([means.after[rows] - means.before[rows] for rows in groups])
    return Cell(after, low, high, sum(len(rows) for rows in groups), before, after - before)


def stratified_interval(
    groups: Sequence[Floats], *, seed: int = 0, samples: int = RESAMPLES
) -> tuple[float, float]:
    """Return the 95% percentile interval of the mean over groups of the groups' means.

    Bootstrap over prompts inside each group, so that every resample has each category as often.
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
    runs: Sequence[Path], columns: Sequence[Column], iteration: int | None
) -> dict[str, Cell]:
    """Put cells together from the runs' summaries.

    Categories are independent, so their half intervals add as squares; seeds share their prompts, so the ends
    of their intervals are averaged, which is an interval for a single seed.
    """
    found: dict[str, list[Cell]] = {}
    for run in runs:
        summary = read_run(run).summary
        last = max([1, *(int(name) for name in summary["iterations"] if name.isdecimal())])
        for column in columns:
            parts = _summary_parts(summary, column, last if iteration is None else iteration, last)
            if parts:
                found.setdefault(column.name, []).append(_joined(parts))
    return {name: _mean_cell(cells) for name, cells in found.items() if len(cells) == len(runs)}


def _mean_cell(cells: Sequence[Cell]) -> Cell:
    def mean(name: str) -> float:
        return float(np.mean([getattr(cell, name) for cell in cells]))

    return Cell(
        mean("value"), mean("ci_low"), mean("ci_high"), cells[0].n, before=mean("before"), diff=mean("diff")
    )


def _summary_parts(
    summary: Mapping[str, Any], column: Column, iteration: int, last: int
) -> list[Mapping[str, Any]]:
    if column == OVERALL:
        one = summary["overall"] if iteration in (0, last) else summary["iterations"].get(str(iteration))
        parts = [one] if one else []
    elif iteration in (0, last):  # the summary has categories of the last iteration alone
        parts = [
            figures for name in column.categories
            for own, figures in summary["categories"].items() if same_category(name, own)
        ]
    else:
        parts = []
    if iteration == 0:
        return [{**one, "after": one["before"], "diff": 0.0, "ci_low": 0.0, "ci_high": 0.0} for one in parts]
    return parts


def _joined(parts: Sequence[Mapping[str, Any]]) -> Cell:
    def mean(name: str) -> float:
        return float(np.mean([math.nan if part[name] is None else part[name] for part in parts]))

    def half(end: str) -> float:
        reach = [(math.nan if part[end] is None else part[end]) - part["diff"] for part in parts]
        return float(np.sqrt(np.sum(np.square(reach))) / len(parts))

    diff = mean("diff")
    return Cell(
        mean("after"), diff - half("ci_low"), diff + half("ci_high"), sum(int(part["n"]) for part in parts),
        mean("before"), diff,
    )


def own_columns(run: Path, columns: Sequence[Column]) -> list[Column]:
    """Return a column for each category of the benchmark that none of `columns` has."""
    known = [name for column in columns for name in column.categories]
    return [
        Column(own, (own,)) for own in read_run(run).summary["categories"]
        if not any(same_category(own, name) for name in known)
    ]


# --------------------------------------------------------------------------------------- own scores

Scores: TypeAlias = "dict[str, tuple[str, list[float]]]"
"""Prompt -> its category and the scores of its candidates."""


def read_scores(run: Path) -> Scores:
    """Return the scores of the first iteration's candidates; those without one are left out."""
    folder = run / "iter-1"
    category = {row["prompt_id"]: row["category"] for row in all_rows(folder / "prompts")}
    found: Scores = {}
    for row in all_rows(folder / "scores"):
        if row["score"] is not None:
            found.setdefault(row["prompt_id"], (category[row["prompt_id"]], []))[1].append(row["score"])
    return found


def score_cells(runs: Sequence[Path], columns: Sequence[Column]) -> dict[str, Cell]:
    """Return the mean score of each column's prompts, the mean best of a prompt, and the mean spread.

    Runs (seeds) have prompts of their own, so all of them count side by side. Intervals are over prompts.
    """
    from silmm.bench.statistics import mean_interval

    every = [one for run in runs for one in read_scores(run).values()]
    cells = {}
    for column in [*columns, OVERALL]:
        groups = column.categories if column != OVERALL else ("",)
        values = [
            found for name in groups
            if len(found := np.array([
                np.mean(scores) for own, scores in every if not name or same_category(name, own)
            ]))
        ]
        if values:
            cells[column.name] = Cell(
                float(np.mean([group.mean() for group in values])), *stratified_interval(values),
                n=sum(map(len, values)),
            )
    for column, figure in ((BEST_OF, max), (SPREAD, np.std)):
        numbers = np.array([float(figure(scores)) for _, scores in every])
        cells[column.name] = Cell(float(numbers.mean()), *mean_interval(numbers), n=len(numbers))
    return cells
