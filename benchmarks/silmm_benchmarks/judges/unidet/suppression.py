"""Non-maximum suppression within groups, with the float32 detail that changes results."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from silmm_benchmarks.judges.unidet.boxes import area

Suppression = Literal["official", "exact"]

OFFSET_LIMIT = 20_000
"""Most coordinates (4 for each box) for which torchvision on CUDA moves groups apart (docs/spec/unidet.md 8)."""
_BLOCK = 1024


def grouped_nms(
    boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float, rule: Suppression
) -> Tensor:
    """Return the kept rows by falling score: boxes that overlap a better one of their group are dropped.

    `official` does as the benchmark's environment does: up to 5,000 boxes it shifts each by its group
    times the largest coordinate + 1 and takes them all at once. In float32 the shift rounds coordinates,
    to 1/32 of a pixel at class 700, so overlaps near the threshold fall otherwise. `exact` does not round.

    Args:
        boxes: (n, 4).
        scores: (n,); of equal ones the earlier row counts as better.
        groups: (n,) integers.
        threshold: a box is dropped if intersection over union is strictly above it.
        rule: see above.
    """
    if rule == "official" and boxes.numel() <= OFFSET_LIMIT:
        return _nms(_apart(boxes, groups), scores, threshold)
    keep = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    for group in torch.unique(groups):
        rows = (groups == group).nonzero().flatten()
        keep[rows[_nms(boxes[rows], scores[rows], threshold)]] = True
    kept = keep.nonzero().flatten()
    return kept[scores[kept].argsort(descending=True, stable=True)]


def _apart(boxes: Tensor, groups: Tensor) -> Tensor:
    if not len(boxes):
        return boxes
    return boxes + (groups.to(boxes) * (boxes.max() + 1))[:, None]


def _nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Greedy suppression in blocks by falling score: the work is vectorised, memory is (block, n)."""
    order = scores.argsort(descending=True, stable=True)
    kept = order[:0]
    for start in range(0, len(order), _BLOCK):
        rows = order[start : start + _BLOCK]
        rows = rows[~(overlaps(boxes[kept], boxes[rows]) > threshold).any(0)]
        kept = torch.cat((kept, rows[_survivors(overlaps(boxes[rows], boxes[rows]) > threshold)]))
    return kept


def _survivors(over: Tensor) -> Tensor:
    """Say who is left where row i, if it is left itself, removes the later columns j with over[i, j].

    Each round settles at least the first row that is still open, so that the greedy answer is the only
    state that repeats; in practice a few rounds do.
    """
    over = over.triu(1)
    alive = torch.ones(len(over), dtype=torch.bool, device=over.device)
    while True:
        after = ~(over & alive[:, None]).any(0)
        if torch.equal(after, alive):
            return alive
        alive = after


def overlaps(one: Tensor, other: Tensor) -> Tensor:
    """Return intersection over union, (n, 4) and (m, 4) -> (n, m); NaN for two empty boxes."""
    low = torch.maximum(one[:, None, :2], other[None, :, :2])
    high = torch.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    return shared / (area(one)[:, None] + area(other)[None, :] - shared)
