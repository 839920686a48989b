"""All tables and figures that `silmm reproduce` knows, by name."""

from __future__ import annotations

from silmm.reproduce.experiment import Experiment
from silmm.reproduce.paper_figures import FIGURES
from silmm.reproduce.paper_tables import TABLES

EXPERIMENTS: dict[str, Experiment] = {one.name: one for one in (*TABLES, *FIGURES)}
