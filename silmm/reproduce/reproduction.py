"""A whole table or figure: every possible row runs, stages that rows share run once, then all is measured."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import silmm.engine.run
from silmm.engine.settings import NO_BENCHMARK
from silmm.errors import DataError, PluginError, SettingsChanged, UsageError
from silmm.reproduce.experiment import OVERALL, Experiment, PaperColumn
from silmm.reproduce.measuring import (
    BEST_OF,
    SPREAD,
    MeasuredCell,
    benchmark_cells,
    own_columns,
    read_scores,
    score_cells,
)
from silmm.reproduce.ordering import Order, compare_order
from silmm.reproduce.row_settings import Plan, Request, describe_left_out, plan_rows
from silmm.reproduce.sharing import Sharing
from silmm.storage.atomic_files import atomic_write, make_folder
from silmm.storage.json_files import read_json, to_json

if TYPE_CHECKING:
    from silmm.engine.settings import RunSettings
    from silmm.registry.registry import Registry

RUNS = "runs"
"""The folder of the run directories, below the folder of the results."""
SHARED = "shared.json"
"""Records which stages of a run were reused from which other run."""


@dataclass(frozen=True)
class Line:
    """A row with its numbers."""

    plan: Plan
    cells: Mapping[str, MeasuredCell] = field(default_factory=dict)
    """PaperColumn -> our figure; empty where the row is not possible."""
    scores: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    """Score experiments: category -> the scores of each prompt's candidates."""

    @property
    def name(self) -> str:
        """The row's name in the paper."""
        return self.plan.row.name

    @property
    def status(self) -> str:
        """Why the row has no numbers, or an empty string."""
        if not self.plan.reason:
            return ""
        state = "failed with" if self.plan.failed else "not possible with"
        return f"{state} {self.plan.model}: {self.plan.reason}"


@dataclass(frozen=True)
class Reproduction:
    """A finished table or figure."""

    experiment: Experiment
    request: Request
    columns: tuple[PaperColumn, ...]
    """The paper's, then categories of the benchmark that the paper lacks, then the overall one."""
    lines: tuple[Line, ...]
    orders: tuple[Order, ...]
    notes: tuple[str, ...]
    """Remarks for readers: rows that are one run, settings that were left out, smaller numbers."""
    metric: str
    shared: Mapping[str, Mapping[str, str]]
    """Run -> stage -> the run that it was reused from."""

    def label(self, line: Line) -> str:
        """Return the row's name, with the model that stands for the paper's where rows differ in it."""
        models = {other.plan.model for other in self.lines}
        return f"{line.name} (here {line.plan.model})" if len(models) > 1 else line.name

    def without_numbers(self) -> dict[str, list[str]]:
        """Return the reasons why rows have no numbers, with the names of these rows."""
        rows_by_reason: dict[str, list[str]] = {}
        for line in self.lines:
            if line.status:
                rows_by_reason.setdefault(line.status, []).append(line.name)
        return rows_by_reason

    def paper(self, line: Line) -> dict[str, float]:
        """Return the paper's own numbers of a row by column."""
        return self.experiment.paper_numbers(line.plan.row)


def reproduce(
    experiment: Experiment,
    request: Request,
    out: Path,
    *,
    registry: Registry,
    workers: int = 1,
    reuse: Sequence[Path] = (),
    observers: Sequence[object] = (),
    note: Callable[[str], None] = lambda _: None,
) -> Reproduction:
    """Run all rows of a table or figure in `out`, or go on with them, and measure them.

    A run that fails by itself, such as a training that diverges, does not stop the others: its rows state why, and
    the next call tries it again.

    Args:
        experiment: the table or figure.
        request: the model, the benchmark, the number of seeds, the size.
        out: the folder of the result; each row is an ordinary run directory in `out`/runs.
        registry: all components.
        workers: processes that share the shards of a run.
        reuse: folders of other results whose finished stages may be reused.
        observers: as :func:`silmm.engine.run.start` takes them.
        note: called with one line per step.

    Raises:
        UsageError: no row is possible, or a figure cannot be plotted here.
        SilmmError: the disk is full, a directory is busy, or all runs failed; what is committed stays, and the same
            call resumes it.
    """
    check_plottable(experiment)
    if experiment.measure == "benchmark" and request.benchmark == NO_BENCHMARK:
        raise UsageError(f"{experiment.name} compares by a benchmark: leave out --benchmark none")
    plans = plan_rows(registry, experiment, request, note)
    settings_by_run = _first_of_equal({
        plan.runs[number]: plan.settings[number]
        for number in range(request.seeds) for plan in plans if plan.settings
    })
    plans = tuple(_renamed(plan, settings_by_run) for plan in plans)
    runs = out / RUNS
    make_folder(runs)
    shared = _recorded_shared(out)
    failed: dict[str, Exception] = {}
    for position, (name, settings) in enumerate(settings_by_run.items(), start=1):
        note(f"{experiment.name}: run {position} of {len(settings_by_run)}: {name}")
        donors = _donors(runs / name, settings_by_run, runs, reuse)
        sharing = Sharing(settings, registry, donors, note, partial(_record_shared, out, shared, name))
        try:
            silmm.engine.run.start(
                settings, runs / name, workers=workers, registry=registry, observers=(sharing, *observers),
                until="score" if experiment.measure == "scores" else None,
            )
        except SettingsChanged:
            raise
        except (UsageError, DataError, PluginError) as error:
            failed[name] = error
            note(f"{name} failed: {error}")
    if len(failed) == len(settings_by_run):
        raise next(iter(failed.values()))
    plans = tuple(_without_failed(plan, failed) for plan in plans)
    reused = {name: dict(sorted(shared[name].items())) for name in settings_by_run if name in shared}
    return _measured(experiment, request, plans, runs, reused)


def others_beside(out: Path) -> list[Path]:
    """Return the folders of other results in the same folder, whose stages may be reused."""
    folders = sorted(out.parent.iterdir()) if out.parent.is_dir() else []
    return [path for path in folders if path != out and (path / RUNS).is_dir()]


def check_plottable(experiment: Experiment) -> None:
    """Refuse a figure where matplotlib is missing, before hours of work.

    Raises:
        UsageError: it is missing; the message names the command that installs it.
    """
    if experiment.chart is not None and importlib.util.find_spec("matplotlib") is None:
        raise UsageError(
            f"{experiment.name} is a figure, and matplotlib, which plots it, is not installed: "
            "pip install 'silmm[figures]'"
        )


def _first_of_equal(settings_by_run: Mapping[str, RunSettings]) -> dict[str, RunSettings]:
    """Keep the first run of those that have equal settings: rows may be one run under two names."""
    names: dict[str, str] = {}
    for name in settings_by_run:
        names.setdefault(_digest_part(name), name)
    return {name: settings_by_run[name] for name in names.values()}


def _digest_part(name: str) -> str:
    return name.rpartition("-")[2]


def _without_failed(plan: Plan, failed: Mapping[str, Exception]) -> Plan:
    errors = [failed[name] for name in plan.runs if name in failed]
    if not errors:
        return plan
    return replace(plan, settings=(), runs=(), reason=str(errors[0]), failed=True)


def _renamed(plan: Plan, settings_by_run: Mapping[str, RunSettings]) -> Plan:
    names = {_digest_part(name): name for name in settings_by_run}
    return replace(plan, runs=tuple(names[_digest_part(name)] for name in plan.runs))


def _donors(run: Path, own_names: Iterable[str], runs: Path, reuse: Sequence[Path]) -> list[Path]:
    """Return the runs that may share stages: those of this result first, then those of others."""
    own = [runs / name for name in own_names]
    others = [path for folder in (runs, *(result / RUNS for result in reuse)) for path in _runs_in(folder)]
    return [path for path in dict.fromkeys([*own, *others]) if path != run]


def _runs_in(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/run.json")) if folder.is_dir() else []


def _record_shared(out: Path, recorded: dict[str, dict[str, str]], name: str, stages: Mapping[str, str]) -> None:
    if stages:
        recorded.setdefault(name, {}).update(stages)
        atomic_write(out / SHARED, to_json(recorded))


def _recorded_shared(out: Path) -> dict[str, dict[str, str]]:
    with contextlib.suppress(Exception):  # it is for the reader alone; no result depends on it
        return cast("dict[str, dict[str, str]]", read_json(out / SHARED))
    return {}


# ---------------------------------------------------------------------------------------- measuring


def _measured(
    experiment: Experiment, request: Request, plans: Sequence[Plan], runs: Path,
    shared: Mapping[str, Mapping[str, str]],
) -> Reproduction:
    first = next(plan for plan in plans if plan.settings).runs[0]
    columns = (*experiment.columns, OVERALL)
    metric = "self-score (Eq. 1)"
    if experiment.measure == "benchmark":
        columns = (*experiment.columns, *own_columns(runs / first, experiment.columns), OVERALL)
        metric = str(read_json(runs / first / "summary.json").get("metric"))
        lines = [
            Line(plan, _cells([runs / run for run in plan.runs], columns, plan.row.iteration)) for plan in plans
        ]
    else:
        columns = (*columns, BEST_OF, SPREAD)
        lines = [_scored_line(plan, [runs / run for run in plan.runs], experiment) for plan in plans]
    result = Reproduction(
        experiment, request, columns, tuple(lines), (), _notes(experiment, request, plans), metric, shared
    )
    return replace(result, orders=_orders(result))


def _cells(runs: Sequence[Path], columns: Sequence[PaperColumn], iteration: int | None) -> dict[str, MeasuredCell]:
    return benchmark_cells(runs, columns, iteration) if runs else {}


def _scored_line(plan: Plan, runs: Sequence[Path], experiment: Experiment) -> Line:
    if not runs:
        return Line(plan)
    scores: dict[str, list[Sequence[float]]] = {}
    for run in runs:
        for category, values in read_scores(run).values():
            scores.setdefault(category, []).append(values)
    return Line(plan, score_cells(runs, experiment.columns), scores)


def _orders(result: Reproduction) -> tuple[Order, ...]:
    """Compare the order in each column, separately per kind of model; a run counts once."""
    orders = []
    kinds = result.experiment.kinds
    for kind in kinds:
        distinct: dict[tuple[tuple[str, ...], int | None], Line] = {}
        for line in result.lines:
            if line.cells and (line.plan.row.kind or result.experiment.kind) == kind:
                distinct.setdefault((line.plan.runs, line.plan.row.iteration), line)
        for column in result.experiment.columns:
            measured = {
                line.name: line.cells[column.name] for line in distinct.values() if column.name in line.cells
            }
            papers = {
                line.name: value for line in distinct.values()
                for name, value in result.paper(line).items() if name == column.name
            }
            label = f"{column.name} ({kind})" if len(kinds) > 1 else column.name
            order = compare_order(label, measured, papers)
            orders += [order] if order else []
    return tuple(orders)


def _notes(experiment: Experiment, request: Request, plans: Sequence[Plan]) -> tuple[str, ...]:
    notes = []
    if request.quick:
        notes.append("Made with --quick: fewer prompts, steps and images than the defaults.")
    if any(settings.limit is not None for plan in plans for settings in plan.settings):
        notes.append("PARTIAL (limit): these are not benchmark results.")
    rows_by_run: dict[tuple[tuple[str, ...], int | None], list[str]] = {}
    for plan in plans:
        if plan.runs:
            rows_by_run.setdefault((plan.runs, plan.row.iteration), []).append(plan.row.name)
    notes += [f"{' and '.join(names)} are one run here." for names in rows_by_run.values() if len(names) > 1]
    if experiment.measure == "benchmark" and any(plan.row.paper for plan in plans):
        notes.append(
            "The paper's numbers are percentages of T2I-CompBench++ on its own models; ours are shares on "
            f"{request.benchmark}. Another benchmark, another scale: only the order of the rows and the "
            "signs of the differences can be compared."
        )
    return (*notes, *describe_left_out(plans))
