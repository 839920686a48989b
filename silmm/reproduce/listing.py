"""What can be reproduced, and what a table's rows come to, without running anything."""

from __future__ import annotations

from typing import Any

from silmm.registry.registry import Registry
from silmm.reproduce.catalog import EXPERIMENTS
from silmm.reproduce.experiment import Experiment
from silmm.reproduce.resolving import EMBEDDED, Request, plan_rows


def list_experiments() -> list[dict[str, Any]]:
    """Return name, title, number of rows and default models of every table and figure."""
    return [
        {
            "name": one.name, "title": one.title, "about": one.about, "rows": len(one.rows),
            "models": [EMBEDDED[kind] for kind in one.kinds], "trains": one.measure == "benchmark",
        }
        for one in EXPERIMENTS.values()
    ]


def list_rows(registry: Registry, experiment: Experiment, request: Request) -> list[dict[str, Any]]:
    """Return what each row changes, its paper numbers, and its runs or why it is not possible.

    Raises:
        UsageError: as :func:`silmm.reproduce.resolving.plan_rows`.
    """
    return [
        {
            "row": plan.row.name, "group": plan.row.group, "model": plan.model,
            "settings": dict(plan.changes), "runs": list(dict.fromkeys(plan.runs)), "reason": plan.reason,
            "paper": {
                column.name: value
                for column, value in zip(experiment.columns, plan.row.paper, strict=False)
                if value is not None
            },
        }
        for plan in plan_rows(registry, experiment, request)
    ]
