"""Intervals by bootstrap over prompts, paired comparison of two models, and AUC with its ties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from silmm.contracts.records import Difference

Floats: TypeAlias = npt.NDArray[np.float64]

RESAMPLES = 10_000
"""Bootstrap resamples: the Monte Carlo error of a 95% end point is then about 1% of its width."""

_CELLS = 4_000_000  # resampled values held at once, about 32 MB


def cluster_means(values: npt.ArrayLike, clusters: Sequence[str]) -> tuple[list[str], Floats]:
    """Average the values of each cluster (the images of a prompt).

    Args:
        values: one finite number per image, shape (images,).
        clusters: the prompt of each image, same length.

    Returns:
        The distinct clusters in order of first appearance, and their means of shape (clusters,).

    Raises:
        ValueError: no values, lengths that differ, or a value that is not finite.
    """
    array = _finite(values, "cluster_means")
    if len(array) != len(clusters):
        raise ValueError(
            f"cluster_means: {len(array)} values but {len(clusters)} cluster names; "
            "give one cluster per value"
        )
    position: dict[str, int] = {}
    index = np.array([position.setdefault(name, len(position)) for name in clusters])
    means = np.bincount(index, weights=array) / np.bincount(index)
    return list(position), means


def paired_difference(
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    *,
    seed: int = 0,
    samples: int = RESAMPLES,
    level: float = 0.95,
) -> Difference:
    """Compare two models on the same prompts by a paired percentile bootstrap over prompts.

    The prompt is the unit of resampling: its images are not independent, so they are averaged
    first (:func:`cluster_means`), and both models keep their values of a sampled prompt together
    (Efron & Tibshirani 1993, ch. 13: the percentile interval).

    Args:
        before: mean of each prompt under the first model, shape (n,).
        after: mean of the same prompts under the second model, same order, shape (n,).
        seed: seed of the resampling; the same seed gives the same interval.
        samples: number of resamples.
        level: coverage of the interval.

    Returns:
        Means, difference (after - before) and its interval. With one prompt nothing can be
        resampled: both ends are NaN.

    Raises:
        ValueError: no prompts, shapes that differ, or a value that is not finite.
    """
    first, second = _finite(before, "before"), _finite(after, "after")
    if first.shape != second.shape:
        raise ValueError(
            f"paired_difference: before has {len(first)} prompts and after {len(second)}; "
            "a paired comparison needs the same prompts on both sides"
        )
    low, high = mean_interval(second - first, seed=seed, samples=samples, level=level)
    mean_before, mean_after = float(first.mean()), float(second.mean())
    return Difference(
        before=mean_before, after=mean_after, diff=mean_after - mean_before,
        ci_low=low, ci_high=high, n=len(first),
    )


def mean_interval(
    values: npt.ArrayLike, *, seed: int = 0, samples: int = RESAMPLES, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean over clusters, values of shape (n,).

    Both ends are NaN when n is 1.

    Raises:
        ValueError: no values, a value that is not finite, or a level outside (0, 1).
    """
    array = _finite(values, "mean_interval")
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1")
    if len(array) == 1:
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(_resampled_means(array, seed, samples), [tail, 1 - tail])
    return float(low), float(high)


def optional_ends(interval: tuple[float, float]) -> tuple[float | None, float | None]:
    """Return an interval with None in place of NaN, where one prompt alone leaves nothing to resample."""
    low, high = interval
    return (None, None) if np.isnan(low) else (low, high)


def ratio_interval(
    sums: npt.ArrayLike, counts: npt.ArrayLike, *, seed: int = 0, samples: int = RESAMPLES, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of sum(sums) / sum(counts) over clusters, both of shape (n,).

    For averages over parts (questions) of clusters (prompts) that hold unequal numbers of them: a cluster
    is sampled with all its parts. Both ends are NaN when n is 1.

    Raises:
        ValueError: no values, one that is not finite, a count that is not positive, shapes that differ.
    """
    top, bottom = _finite(sums, "sums"), _finite(counts, "counts")
    if top.shape != bottom.shape or (bottom <= 0).any():
        raise ValueError(f"ratio_interval: {len(top)} sums, {len(bottom)} counts; each needs its count > 0")
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1")
    if len(top) == 1:
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    # the same seed samples the same clusters for both, so that each ratio is of one resample
    ratios = _resampled_means(top, seed, samples) / _resampled_means(bottom, seed, samples)
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return float(low), float(high)


def grouped_interval(
    groups: Sequence[npt.ArrayLike], *, seed: int = 0, samples: int = RESAMPLES, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of group means (a column of categories).

    Each group holds one value per cluster (prompt), shape (n_g,); clusters are resampled inside their group,
    groups independently. Both ends are NaN when a group has one cluster.

    Raises:
        ValueError: no groups, an empty one, a value that is not finite, or a level outside (0, 1).
    """
    arrays = [_finite(group, "grouped_interval") for group in groups]
    if not arrays or not 0 < level < 1:
        raise ValueError(f"grouped_interval: {len(arrays)} groups at level {level}; both must be above 0")
    if any(len(array) == 1 for array in arrays):
        return float("nan"), float("nan")
    means = [_resampled_means(array, seed + index, samples) for index, array in enumerate(arrays)]
    tail = (1 - level) / 2
    low, high = np.quantile(np.mean(means, axis=0), [tail, 1 - tail])
    return float(low), float(high)


def seed_interval(
    values: npt.ArrayLike, *, seed: int = 0, samples: int = RESAMPLES, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean over training seeds and prompts, values of shape (seeds, n).

    Both are resampled, seeds and prompts each with replacement, since every seed is scored on the same prompts. With
    one seed the interval speaks of its prompts alone; both ends are NaN when n is 1.

    Raises:
        ValueError: no values, rows of unequal length, a value that is not finite, or a level outside (0, 1).
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or not array.size or not np.isfinite(array).all() or not 0 < level < 1:
        raise ValueError(f"seed_interval: shape {array.shape} at level {level}; finite (seeds, prompts) are needed")
    n_seeds, n_prompts = array.shape
    if n_prompts == 1:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    block = max(1, _CELLS // n_prompts)
    parts = []
    for start in range(0, samples, block):
        size = min(block, samples - start)
        by_prompt = array[rng.integers(n_seeds, size=(size, n_seeds))].mean(axis=1)
        chosen = rng.integers(n_prompts, size=(size, n_prompts))
        parts.append(np.take_along_axis(by_prompt, chosen, axis=1).mean(axis=1))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(parts), [tail, 1 - tail])
    return float(low), float(high)


def auc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the chance that a true case scores above a false one, ties counting half.

    The Mann-Whitney statistic U / (n_true * n_false) from mid-ranks.

    Args:
        scores: finite numbers, shape (n,).
        labels: truth values, shape (n,).

    Raises:
        ValueError: shapes that differ, a score that is not finite, or labels of one kind alone.
    """
    wins, pairs = _wins(*_scored(scores, labels))
    if not pairs:
        raise ValueError("auc: all labels are alike; it needs at least one true and one false case")
    return wins / pairs


def within_group_auc(
    scores: npt.ArrayLike, labels: npt.ArrayLike, groups: Sequence[str]
) -> float:
    """Return the AUC over pairs of cases of the same group alone (images of the same prompt).

    Every (true, false) pair inside a group counts once, so easy prompts cannot help by being easy.

    Raises:
        ValueError: as :func:`auc`, or when no group holds both a true and a false case.
    """
    values, truth = _scored(scores, labels)
    if len(groups) != len(values):
        raise ValueError(f"within_group_auc: {len(values)} scores but {len(groups)} groups")
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    counts = [_wins(values[rows], truth[rows]) for rows in members.values()]
    pairs = sum(pair for _, pair in counts)
    if not pairs:
        raise ValueError("within_group_auc: no group holds both a true and a false case")
    return sum(win for win, _ in counts) / pairs


def _resampled_means(values: Floats, seed: int, samples: int) -> Floats:
    """Means of `samples` resamples of `values`, in blocks that bound the memory; shape (samples,)."""
    rng = np.random.default_rng(seed)
    block = max(1, _CELLS // len(values))
    sizes = [min(block, samples - start) for start in range(0, samples, block)]
    parts = [
        values[rng.integers(len(values), size=(size, len(values)))].mean(axis=1) for size in sizes
    ]
    return np.concatenate(parts)


def _wins(scores: Floats, labels: npt.NDArray[np.bool_]) -> tuple[float, int]:
    """Count won (true, false) pairs, ties half, and all such pairs."""
    true, false = int(labels.sum()), int((~labels).sum())
    if not true or not false:
        return 0.0, 0
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mid_ranks = (last - (counts - 1) / 2)[inverse.reshape(-1)]
    return float(mid_ranks[labels].sum() - true * (true + 1) / 2), true * false


def _scored(
    scores: npt.ArrayLike, labels: npt.ArrayLike
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Check scores and labels against each other."""
    values, truth = _finite(scores, "scores"), np.asarray(labels, dtype=bool)
    if values.shape != truth.shape:
        raise ValueError(f"{values.shape} scores but {truth.shape} labels; give one label per score")
    return values, truth


def _finite(values: npt.ArrayLike, name: str) -> Floats:
    """Return a flat float array, refusing emptiness and numbers that would poison a mean."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name}: expected a flat, non-empty list, not shape {array.shape}")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(
            f"{name}: {bad} of {array.size} values are not finite; exclude and count them"
        )
    return array
