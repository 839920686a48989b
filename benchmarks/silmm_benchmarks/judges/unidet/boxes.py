"""Boxes x1, y1, x2, y2 in pixels: anchors, decoding of deltas, clipping (docs/spec/unidet.md 6)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from silmm_benchmarks.judges.unidet.architecture import STRIDES

LEAST_SIZE = 32.0
"""Side of the smallest anchor of p3; it doubles with every level."""
OCTAVES = (1.0, 2.0 ** (1 / 3), 2.0 ** (2 / 3))
RATIOS = (0.5, 1.0, 2.0)
"""Height over width."""
ANCHORS = len(OCTAVES) * len(RATIOS)
"""Anchors per cell."""
MOST_GROWTH = math.log(1000.0 / 16.0)
"""Upper clamp of dw and dh, after their weight."""


def cell_anchors(level: int) -> Tensor:
    """Return the anchors about (0, 0) of level 0 (p3) to 4 (p7), shape (9, 4); size outer, ratio inner."""
    rows = []
    for octave in OCTAVES:
        for ratio in RATIOS:
            width = math.sqrt((LEAST_SIZE * 2**level * octave) ** 2 / ratio)
            height = ratio * width
            rows.append([-width / 2, -height / 2, width / 2, height / 2])
    return torch.tensor(rows)


def grid_anchors(level: int, height: int, width: int, device: torch.device) -> Tensor:
    """Return all anchors of a map, shape (height * width * 9, 4): row, column, anchor.

    An anchor is centred at the upper left corner of its cell (offset 0).
    """
    y, x = torch.meshgrid(
        torch.arange(height, device=device, dtype=torch.float32) * STRIDES[level],
        torch.arange(width, device=device, dtype=torch.float32) * STRIDES[level],
        indexing="ij",
    )
    corners = torch.stack((x, y, x, y), dim=-1).reshape(-1, 1, 4)
    return (corners + cell_anchors(level).to(device)).reshape(-1, 4)


def decode(deltas: Tensor, boxes: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Move and stretch boxes: (n, 4) deltas dx, dy, dw, dh and (n, 4) boxes -> (n, 4), in float32."""
    deltas = deltas.float() / torch.tensor(weights, device=deltas.device)
    size = boxes[:, 2:] - boxes[:, :2]
    centre = boxes[:, :2] + 0.5 * size
    centre = deltas[:, :2] * size + centre
    size = deltas[:, 2:].clamp(max=MOST_GROWTH).exp() * size
    return torch.cat((centre - 0.5 * size, centre + 0.5 * size), dim=1)


def clip(boxes: Tensor, height: int, width: int) -> Tensor:
    """Cut boxes to the image; those outside become empty and stay."""
    low = boxes.clamp(min=0)
    most = torch.tensor([width, height, width, height], device=boxes.device, dtype=boxes.dtype)
    return torch.minimum(low, most)


def area(boxes: Tensor) -> Tensor:
    """Return width * height, shape (n,)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def is_solid(boxes: Tensor) -> Tensor:
    """Say which boxes have a width and a height above 0, shape (n,)."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


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


def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Return intersection over union, (n, 4) and (m, 4) -> (n, m); NaN for two empty boxes."""
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    return shared / (area(first)[:, None] + area(second)[None, :] - shared)
