"""ROIAlign as two matrix products: samples form a grid, so bilinear weights factorise (docs/spec/unidet.md 7)."""

from __future__ import annotations

import torch
from torch import Tensor

from silmm_benchmarks.judges.unidet.architecture import ROI_LEVELS, STRIDES
from silmm_benchmarks.judges.unidet.boxes import area

BINS = 7
_CANONICAL = 224.0
"""Side of a box that belongs to p4."""
_P3, _P4 = 3, 4


def levels_of(boxes: Tensor) -> Tensor:
    """Return for each box the level that it is pooled from, 0 = p3 to 2 = p5, shape (n,)."""
    level = torch.floor(_P4 + torch.log2(area(boxes).sqrt() / _CANONICAL + 1e-8))
    return level.clamp(_P3, _P3 + ROI_LEVELS - 1).long() - _P3


def pool_boxes(features: list[Tensor], boxes: Tensor) -> Tensor:
    """Pool each box of one image from its level.

    Args:
        features: p3, p4, p5 of the image, each (C, H, W).
        boxes: (n, 4) in pixels of the input.

    Returns:
        (n, C, 7, 7).
    """
    pooled = features[0].new_zeros((len(boxes), len(features[0]), BINS, BINS))
    levels = levels_of(boxes)
    for level, feature in enumerate(features):
        rows = (levels == level).nonzero().flatten()
        if len(rows):
            pooled[rows] = roi_align(feature, boxes[rows], 1 / STRIDES[level])
    return pooled


def roi_align(feature: Tensor, boxes: Tensor, scale: float) -> Tensor:
    """Return the mean of bilinear samples in 7x7 bins: (C, H, W) and (n, 4) -> (n, C, 7, 7).

    Aligned: coordinates are scaled, then moved by half a cell. The number of samples along an axis is the
    bin's length, rounded up; a box without extent has none and gives 0. It is always computed in float32.
    """
    with torch.autocast(feature.device.type, enabled=False):
        return _roi_align(feature.float(), boxes, scale)


def _roi_align(feature: Tensor, boxes: Tensor, scale: float) -> Tensor:
    channels, height, width = feature.shape
    boxes = boxes.float() * scale - 0.5
    rows = _averaging(boxes[:, 1], boxes[:, 3], height)  # (n, 7, H)
    columns = _averaging(boxes[:, 0], boxes[:, 2], width)  # (n, 7, W)
    by_row = feature.transpose(0, 1).reshape(height, channels * width)
    strips = (rows.flatten(0, 1) @ by_row).reshape(len(boxes), BINS * channels, width)
    pooled = strips @ columns.transpose(1, 2)  # (n, 7*C, 7)
    return pooled.reshape(len(boxes), BINS, channels, BINS).transpose(1, 2)


def _averaging(start: Tensor, end: Tensor, size: int) -> Tensor:
    """Return the weight of each of `size` cells in each bin of [start, end], shape (n, 7, size)."""
    length = (end - start) / BINS
    counts = length.ceil().clamp(min=0).long()  # (n,)
    most = int(counts.max()) if len(counts) else 0
    weights = start.new_zeros((len(start), BINS, size))
    if not most:
        return weights
    bins = torch.arange(BINS, device=start.device, dtype=start.dtype)[None, :, None]
    steps = torch.arange(most, device=start.device, dtype=start.dtype)[None, None, :]
    share = length / counts.clamp(min=1)
    at = start[:, None, None] + bins * length[:, None, None] + (steps + 0.5) * share[:, None, None]
    used = (steps < counts[:, None, None]) & (at >= -1) & (at <= size)
    at = at.clamp(0, size - 1)
    low = at.floor().long()
    high = (low + 1).clamp(max=size - 1)
    part = at - low
    portion = used / counts.clamp(min=1)[:, None, None]
    weights.scatter_add_(2, low, (1 - part) * portion)
    weights.scatter_add_(2, high, part * portion)
    return weights
