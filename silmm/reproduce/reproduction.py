"""A whole table or figure: every possible row is run, what rows share is made once, then all is measured."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import silmm.engine.run
from silmm.engine.settings import NO_BENCHMARK
from silmm.errors import DataError, PluginError, SettingsChanged, UsageError
from silmm.reproduce.experiment import OVERALL, Column, Experiment
from silmm.reproduce.measuring import (
    BEST_OF,
    SPREAD,
    Cell,
    benchmark_cells,
    own_columns,
    read_scores,
    score_cells,
)
from silmm.reproduce.ordering import Order, compare_order
from silmm.reproduce.resolving import Plan, Request, describe_left_out, plan_rows
from silmm.reproduce.sharing import Sharing
from silmm.storage.atomic_files import atomic_write, make_folder
from silmm.storage.json_files import read_json, to_json

if TYPE_CHECKING:
    from silmm.engine.settings import RunSettings
    from silmm.registry.registry import Registry

RUNS = "runs"
"""The folder of the run directories, below the folder of the results."""
SHARED = "shared.json"
"""Which stages of which run were taken from which other run."""


@dataclass(frozen=True)
class Line:
    """A row with its numbers."""

    plan: Plan
    cells: Mapping[str, Cell] = field(default_factory=dict)
    """Column -> our figure; empty where the row is not possible."""
    scores: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    """Score experiments: category -> the scores of each prompt's candidates."""

    @property
    def name(self) -> str:
        """What the paper calls the row."""
        return self.plan.row.name

    @property
    def status(self) -> str:
        """Why the row has no numbers, or an empty string."""
        if not self.plan.reason:
            return ""
        what = "failed with" if self.plan.failed else "not possible with"
        return f"{what} {self.plan.model}: {self.plan.reason}"


@dataclass(frozen=True)
class Reproduction:
    """A finished table or figure."""

    experiment: Experiment
    request: Request
    columns: tuple[Column, ...]
    """The paper's, then categories of the benchmark that the paper has not, then the overall one."""
    lines: tuple[Line, ...]
    orders: tuple[Order, ...]
    notes: tuple[str, ...]
    """What a reader must know: rows that are one run, settings that were left out, smaller numbers."""
    metric: str
    shared: Mapping[str, Mapping[str, str]]
    """Run -> stage -> the run that it was taken from."""

    def label(self, line: Line) -> str:
        """Return the row's name, and which model stands for the paper's where rows differ in it."""
        models = {other.plan.model for other in self.lines}
        return f"{line.name} (here {line.plan.model})" if len(models) > 1 else line.name

    def without_numbers(self) -> dict[str, list[str]]:
        """Return why rows have no numbers: the reason with the rows that it holds for."""
        found: dict[str, list[str]] = {}
        for line in self.lines:
            if line.status:
                found.setdefault(line.status, []).append(line.name)
        return found

    def paper(self, line: Line) -> dict[str, float]:
        """Return the paper's own numbers of a row by column."""
        numbers = zip(self.experiment.columns, line.plan.row.paper, strict=False)
        return {column.name: value for column, value in numbers if value is not None}


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

    A run that fails by its own doing, such as a training that diverges, does not stop the others: its rows
    say why, and the next call tries it again.

    Args:
        experiment: what to reproduce.
        request: on which model and benchmark, how often, how small.
        out: its folder; each row is an ordinary run directory in `out`/runs.
        registry: all components.
        workers: processes that share the shards of a run.
        reuse: folders of other results whose finished stages may be taken.
        observers: as :func:`silmm.engine.run.start` takes them.
        note: told what is done, a line at a time.

    Raises:
        UsageError: no row is possible, or a figure cannot be sampled here.
        SilmmError: a full disk, a busy directory, or no run that ended well; what is committed stays, and the
            same call goes on from there.
    """
    check_generatable(experiment)
    if experiment.measure == "benchmark" and request.benchmark == NO_BENCHMARK:
        raise UsageError(f"{experiment.name} compares by a benchmark: leave --benchmark none out")
    plans = plan_rows(registry, experiment, request, note)
    todo = {
        name: settings for number in range(request.seeds)
        for plan in plans if plan.settings
        for name, settings in [(plan.runs[number], plan.settings[number])]
    }
    todo = _first_of_equal(todo)
    plans = tuple(_renamed(plan, todo) for plan in plans)
    home = out / RUNS
    make_folder(home)
    shared = _known_shared(out)
    failed: dict[str, Exception] = {}
    for position, (name, settings) in enumerate(todo.items(), start=1):
        note(f"{experiment.name}: run {position} of {len(todo)}: {name}")
        sharing = Sharing(
            settings, registry, _donors(home / name, todo, home, reuse), note,
            partial(_keep_shared, out, shared, name),
        )
        try:
            silmm.engine.run.start(
                settings, home / name, workers=workers, registry=registry, observers=(sharing, *observers),
                until="score" if experiment.measure == "scores" else None,
            )
        except SettingsChanged:
            raise
        except (UsageError, DataError, PluginError) as error:
            failed[name] = error
            note(f"{name} failed: {error}")
    if len(failed) == len(todo):
        raise next(iter(failed.values()))
    plans = tuple(_without_failed(plan, failed) for plan in plans)
    kept = {name: dict(sorted(shared[name].items())) for name in todo if name in shared}
    return _measured(experiment, request, plans, home, kept)


def others_beside(out: Path) -> list[Path]:
    """Return the folders of other results in the same place, whose stages may be shared."""
    folders = sorted(out.parent.iterdir()) if out.parent.is_dir() else []
    return [path for path in folders if path != out and (path / RUNS).is_dir()]


def check_generatable(experiment: Experiment) -> None:
    """Refuse a figure where matplotlib is missing, before hours of work.

    Raises:
        UsageError: it is missing; says how to get it.
    """
    if experiment.chart is not None and importlib.util.find_spec("matplotlib") is None:
        raise UsageError(
            f"{experiment.name} is a figure, and matplotlib, which samples it, is not installed: "
            "pip install 'silmm[figures]'"
        )


def _first_of_equal(todo: Mapping[str, RunSettings]) -> dict[str, RunSettings]:
    """Keep the first run of those that have equal settings: rows may be one run under two names."""
    digests: dict[str, str] = {}
    for name in todo:
        digests.setdefault(_digest_part(name), name)
    return {name: todo[name] for name in digests.values()}


def _digest_part(name: str) -> str:
    return name.rpartition("-")[2]


def _without_failed(plan: Plan, failed: Mapping[str, Exception]) -> Plan:
    errors = [failed[name] for name in plan.runs if name in failed]
    if not errors:
        return plan
    return replace(plan, settings=(), runs=(), reason=str(errors[0]), failed=True)


def _renamed(plan: Plan, todo: Mapping[str, RunSettings]) -> Plan:
    first = {_digest_part(name): name for name in todo}
    return replace(plan, runs=tuple(first[_digest_part(name)] for name in plan.runs))


def _donors(run: Path, todo: Mapping[str, RunSettings], home: Path, reuse: Sequence[Path]) -> list[Path]:
    """Return the runs that may share stages: those of this result first, then those of others."""
    own = [home / name for name in todo]
    rest = [path for folder in (home, *(place / RUNS for place in reuse)) for path in _runs_in(folder)]
    return [path for path in dict.fromkeys([*own, *rest]) if path != run]


def _runs_in(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/run.json")) if folder.is_dir() else []


def _keep_shared(out: Path, known: dict[str, dict[str, str]], name: str, new: Mapping[str, str]) -> None:
    if new:
        known.setdefault(name, {}).update(new)
        atomic_write(out / SHARED, to_json(known))


def _known_shared(out: Path) -> dict[str, dict[str, str]]:
    with contextlib.suppress(Exception):  # it is told to the reader; no result depends on it
        return cast("dict[str, dict[str, str]]", read_json(out / SHARED))
    return {}


# ---------------------------------------------------------------------------------------- measuring


def _measured(
    experiment: Experiment, request: Request, plans: Sequence[Plan], home: Path,
    shared: Mapping[str, Mapping[str, str]],
) -> Reproduction:
    done = [plan for plan in plans if plan.settings]
    columns = (*experiment.columns, OVERALL)
    metric = "own score (Eq. 1)"
    if experiment.measure == "benchmark":
        first = home / done[0].runs[0]
        columns = (*experiment.columns, *own_columns(first, experiment.columns), OVERALL)
        metric = str(read_json(first / "summary.json").get("metric"))
        lines = [
            Line(plan, _cells([home / run for run in plan.runs], columns, plan.row.iteration))
            for plan in plans
        ]
    else:
        columns = (*columns, BEST_OF, SPREAD)
        lines = [_scored_line(plan, [home / run for run in plan.runs], experiment) for plan in plans]
    result = Reproduction(
        experiment, request, columns, tuple(lines), (), _notes(experiment, request, plans), metric, shared
    )
    return replace(result, orders=_orders(result))


def _cells(runs: Sequence[Path], columns: Sequence[Column], iteration: int | None) -> dict[str, Cell]:
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
    """Compare the order in each column, for each kind of model apart; a run counts once."""
    found = []
    kinds = result.experiment.kinds
    for kind in kinds:
        distinct: dict[tuple[tuple[str, ...], int | None], Line] = {}
        for line in result.lines:
            if line.cells and (line.plan.row.kind or result.experiment.kind) == kind:
                distinct.setdefault((line.plan.runs, line.plan.row.iteration), line)
        for column in result.experiment.columns:
            ours = {
                line.name: line.cells[column.name] for line in distinct.values() if column.name in line.cells
            }
            papers = {
                line.name: value for line in distinct.values()
                for name, value in result.paper(line).items() if name == column.name
            }
            label = f"{column.name} ({kind})" if len(kinds) > 1 else column.name
            order = compare_order(label, ours, papers)
            found += [order] if order else []
    return tuple(found)


def _notes(experiment: Experiment, request: Request, plans: Sequence[Plan]) -> tuple[str, ...]:
    notes = []
    if request.quick:
        notes.append("Made with --quick: fewer prompts, steps and images than the defaults.")
    if any(one.limit is not None for plan in plans for one in plan.settings):
        notes.append("PARTIAL (limit): these are not benchmark results.")
    same: dict[tuple[tuple[str, ...], int | None], list[str]] = {}
    for plan in plans:
        if plan.runs:
            same.setdefault((plan.runs, plan.row.iteration), []).append(plan.row.name)
    notes += [f"{' and '.join(names)} are one run here." for names in same.values() if len(names) > 1]
    if experiment.measure == "benchmark" and any(plan.row.paper for plan in plans):
        notes.append(
            "The paper's numbers are percentages of T2I-CompBench++ on its own models; ours are shares on "
            f"{request.benchmark}. Another benchmark, another scale: only the order of the rows and the "
            "signs of the differences can be compared."
        )
    return (*notes, *describe_left_out(plans))
