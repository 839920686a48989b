"""Whether our rows come in the paper's order: rank correlation, and the pairs that are clearly apart."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from silmm.reproduce.measuring import Cell, Floats

FEWEST = 3
"""Rows below which a rank correlation says nothing."""


@dataclass(frozen=True)
class Order:
    """How the rows of one column are ordered here and in the paper."""

    column: str
    rows: int
    spearman: float | None
    """Rank correlation of our figures and the paper's, ties by mid-ranks; None where one side is all tied."""
    pairs: int
    """All pairs of rows."""
    apart: tuple[tuple[str, str, bool | None], ...]
    """(higher, lower, whether the paper has them so; None: a tie there): our intervals do not overlap."""


def compare_order(
    column: str, ours: Mapping[str, Cell], paper: Mapping[str, float]
) -> Order | None:
    """Compare the order of the rows that both sides have; None for fewer than three of them.

    Intervals are those of the differences to the base model, which all rows share; that they do not
    overlap is more than a test of the two rows at 5% would ask.

    Args:
        column: its name.
        ours: row -> our figure.
        paper: row -> the paper's.
    """
    rows = [name for name in ours if name in paper]
    if len(rows) < FEWEST:
        return None
    apart = []
    for one, other in itertools.combinations(rows, 2):
        high, low = sorted((one, other), key=lambda name: ours[name].value, reverse=True)
        if not (ours[high].has_interval and ours[low].has_interval):
            continue
        if ours[high].ci_low > ours[low].ci_high:
            step = paper[high] - paper[low]
            apart.append((high, low, step > 0 if step else None))
    values = [ours[name].value for name in rows]
    return Order(
        column, len(rows), spearman(values, [paper[name] for name in rows]),
        len(rows) * (len(rows) - 1) // 2, tuple(apart),
    )


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return the Pearson correlation of the mid-ranks; None where one side has one value alone."""
    a, b = _ranks(first), _ranks(second)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else None


def _ranks(values: Sequence[float]) -> Floats:
    """Return the mid-rank of each value, shape (n,): equal values share the mean of their ranks."""
    array = np.asarray(values, dtype=np.float64)
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse.reshape(-1)]
