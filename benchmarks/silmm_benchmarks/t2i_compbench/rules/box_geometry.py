"""Boxes as both spatial rules and the counting rule measure them; a box is x1, y1, x2, y2 in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Box: TypeAlias = Sequence[float]


def iou(first: Box, second: Box) -> float:
    """Return intersection over union of two boxes, as the spatial rules take it (docs/spec/benchmarks.md 1.7).

    Raises:
        ZeroDivisionError: both boxes have no area; the official script stops there too.
    """
    union = _area(first) + _area(second) - _intersection(first, second)
    return _intersection(first, second) / union


def centre(box: Box) -> tuple[float, float]:
    """Return the middle of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def is_duplicate(first: Box, second: Box, *, threshold: float = 0.9) -> bool:
    """Return whether two boxes show one object: IoU above 0.9, or one nearly all inside the other.

    Pixels are counted inclusively, a box from 0 to 9 is ten wide (docs/spec/benchmarks.md 1.9, step 1).
    """
    shared = _intersection(first, second, pixel=1)
    areas = _area(first, pixel=1), _area(second, pixel=1)
    wholes = (areas[0] + areas[1] - shared, *areas)
    return any(whole != 0 and shared / whole > threshold for whole in wholes)


def _area(box: Box, pixel: int = 0) -> float:
    return (box[2] - box[0] + pixel) * (box[3] - box[1] + pixel)


def _intersection(first: Box, second: Box, pixel: int = 0) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0]) + pixel
    height = min(first[3], second[3]) - max(first[1], second[1]) + pixel
    return max(0.0, width) * max(0.0, height)
