"""Boxes x1, y1, x2, y2 in pixels: anchors, decoding of deltas, clipping (docs/spec/unidet.md 6)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from silmm_benchmarks.judges.unidet.architecture import STRIDES

LEAST_SIZE = 32.0
"""Side of the smallest anchor of p3; it doubles with every level."""
OCTAVES = (1.0, 2.0 ** (1 / 3), 2.0 ** (2 / 3))
RATIOS = (0.5, 1.0, 2.0)
"""Height over width."""
ANCHORS = len(OCTAVES) * len(RATIOS)
"""Anchors in one place."""
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
    places = torch.stack((x, y, x, y), dim=-1).reshape(-1, 1, 4)
    return (places + cell_anchors(level).to(device)).reshape(-1, 4)


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
