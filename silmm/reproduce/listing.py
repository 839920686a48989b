"""All tables and figures by name, and what the rows of one would run; nothing is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from silmm.reproduce.experiment import Experiment
from silmm.reproduce.paper_figures import FIGURES
from silmm.reproduce.paper_tables import TABLES

if TYPE_CHECKING:
    from silmm.registry.registry import Registry
    from silmm.reproduce.row_settings import Request

EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment for experiment in (*TABLES, *FIGURES)}


def list_experiments() -> list[dict[str, Any]]:
    """Return name, title, number of rows and default models of every table and figure."""
    from silmm.reproduce.row_settings import EMBEDDED  # imported late: the command's help needs the names alone

    return [
        {
            "name": experiment.name, "title": experiment.title, "about": experiment.about,
            "rows": len(experiment.rows), "models": [EMBEDDED[kind] for kind in experiment.kinds],
            "trains": experiment.measure == "benchmark",
        }
        for experiment in EXPERIMENTS.values()
    ]


def list_rows(registry: Registry, experiment: Experiment, request: Request) -> list[dict[str, Any]]:
    """Return what each row changes, its paper numbers, and its runs or why it is not possible.

    Raises:
        UsageError: as :func:`silmm.reproduce.row_settings.plan_rows`.
    """
    from silmm.reproduce.row_settings import plan_rows

    return [
        {
            "row": plan.row.name, "group": plan.row.group, "model": plan.model,
            "settings": dict(plan.changes), "runs": list(dict.fromkeys(plan.runs)), "reason": plan.reason,
            "paper": experiment.paper_numbers(plan.row),
        }
        for plan in plan_rows(registry, experiment, request)
    ]
