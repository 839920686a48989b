"""Whether our rows have the paper's order: rank correlation, and the pairs whose intervals are separated."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from silmm.reproduce.measuring import Floats, MeasuredCell

FEWEST = 3
"""Fewer rows than this say nothing about an order."""


@dataclass(frozen=True)
class Order:
    """How the rows of one column are ordered here and in the paper."""

    column: str
    rows: int
    spearman: float | None
    """Rank correlation of our figures and the paper's, ties by mid-ranks; None where all values of a side are tied."""
    pairs: int
    """All pairs of rows."""
    separated: tuple[tuple[str, str, bool | None], ...]
    """(higher, lower, whether the paper agrees; None: a tie there) of pairs whose intervals do not overlap."""


def compare_order(
    column: str, measured: Mapping[str, MeasuredCell], paper: Mapping[str, float]
) -> Order | None:
    """Compare the order of the rows that both sides have; None for fewer than three rows.

    Intervals are those of the differences to the base model, which all rows share; two that do not overlap are a
    stricter criterion than a test of the two rows at 5%.

    Args:
        column: its name.
        measured: row -> our figure.
        paper: row -> the paper's figure.
    """
    rows = [name for name in measured if name in paper]
    if len(rows) < FEWEST:
        return None
    separated = []
    for pair in itertools.combinations(rows, 2):
        high, low = sorted(pair, key=lambda name: measured[name].value, reverse=True)
        if not (measured[high].has_interval and measured[low].has_interval):
            continue
        if measured[high].ci_low > measured[low].ci_high:
            step = paper[high] - paper[low]
            separated.append((high, low, step > 0 if step else None))
    values = [measured[name].value for name in rows]
    return Order(
        column, len(rows), spearman(values, [paper[name] for name in rows]),
        len(rows) * (len(rows) - 1) // 2, tuple(separated),
    )


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return the Pearson correlation of the mid-ranks; None where all values of one side are equal."""
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
