"""Where the objects of a sampled scene are placed: near-canonical placements with a small jitter.

One canonical placement per wording is what makes sampling learnable in minutes; the jitter of zero
or one patch is what keeps candidates different from each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final, TypeVar

import numpy as np

from silmm_benchmarks.shapes.world import (
    CONTAINER,
    GRID,
    LARGE,
    SMALL,
    hidden_fraction,
)

Placement = tuple[int, int, int]
"""``(x, y, size)`` in patches."""

T = TypeVar("T")

MIN_HIDDEN: Final = 0.15
MAX_HIDDEN: Final = 0.55
# Two large objects with at least one free patch between them on a grid of eight.
_APART: Final = ((0, 4), (0, 5), (1, 5))
_SHRINK: Final = 0.1


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Sample one of the options uniformly; far faster than ``rng.choice`` on tuples."""
    return options[int(rng.random() * len(options))]


def _chance(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


@cache
def occlusion_offsets(front: str, back: str, canonical: bool) -> tuple[tuple[int, int], ...]:
    """Return the corner offsets front minus back (patches) that hide a clear but partial share.

    Canonical ones put the front object at the same height or lower, as near things stand in
    a photograph.
    """
    steps = range(-2, 3)
    offsets = tuple(
        (dx, dy)
        for dy in steps
        for dx in steps
        if abs(dx) + abs(dy) >= 2
        and MIN_HIDDEN <= hidden_fraction((front, LARGE), (back, LARGE), dx, dy) <= MAX_HIDDEN
    )
    low = tuple((dx, dy) for dx, dy in offsets if dy in (0, 1) and dx != 0)
    return low if canonical and low else offsets


def row_pair(rng: np.random.Generator, third: bool) -> tuple[Placement, Placement]:
    """Return a left and a right placement; with `third` the lower third stays free."""
    x0, x1 = pick(rng, _APART)
    rows = (0, 1) if third else (2, 3)
    return (x0, pick(rng, rows), LARGE), (x1, pick(rng, rows), LARGE)


def transpose(placement: Placement) -> Placement:
    """Swap x and y."""
    return placement[1], placement[0], placement[2]


def _touching_pair(rng: np.random.Generator, third: bool) -> tuple[Placement, Placement]:
    x, y = pick(rng, (0, 1, 1, 2)), 0 if third else pick(rng, (2, 3))
    return (x, y, LARGE), (x + LARGE, y, LARGE)


def _inside_pair(rng: np.random.Generator, third: bool) -> tuple[Placement, Placement]:
    x, y = 0 if third else pick(rng, (2, 2, 1, 3)), pick(rng, (2, 2, 1, 3))
    return (x + 1, y + 1, SMALL), (x, y, CONTAINER)


def _occluding_pair(
    rng: np.random.Generator, front: str, back: str, third: bool
) -> tuple[Placement, Placement]:
    dx, dy = pick(rng, occlusion_offsets(front, back, canonical=True))
    width, height = LARGE + abs(dx), LARGE + abs(dy)
    x = 0 if third else min(GRID - width, (GRID - width) // 2 + pick(rng, (0, 1)))
    y = min(GRID - height, (GRID - height) // 2 + pick(rng, (0, 1)))
    back_x, back_y = x + max(0, -dx), y + max(0, -dy)
    return (back_x + dx, back_y + dy, LARGE), (back_x, back_y, LARGE)


def related_placements(
    rng: np.random.Generator, relation: str, shapes: tuple[str, str], third: bool
) -> list[Placement]:
    """Return the placements of a related pair (subject, object) and, with `third`, of a third object."""
    beside: Placement = (5, pick(rng, (2, 3)), LARGE)
    beneath: Placement = transpose(beside)
    if relation in ("left", "right", "above", "below"):
        first, second = row_pair(rng, third)
        if relation in ("right", "below"):
            first, second = second, first
        if relation in ("above", "below"):
            return [transpose(first), transpose(second), *([beside] if third else [])]
        return [first, second, *([beneath] if third else [])]
    if relation == "touching":
        first, second = _touching_pair(rng, third)
        if _chance(rng, 0.3):
            return [transpose(first), transpose(second), *([beside] if third else [])]
        return [first, second, *([beneath] if third else [])]
    if relation == "inside":
        return [*_inside_pair(rng, third), *([beside] if third else [])]
    if relation == "in front of":
        first, second = _occluding_pair(rng, *shapes, third)
    elif relation == "behind":
        second, first = _occluding_pair(rng, *shapes[::-1], third)
    else:
        raise ValueError(f"no layout for the relation {relation!r}")
    # An occluding pair is up to five patches wide: only a small object fits beside it.
    return [first, second, *([(6, pick(rng, (2, 3, 4)), SMALL)] if third else [])]


def free_placements(rng: np.random.Generator, count: int) -> list[Placement]:
    """Return the placements of 1-5 unrelated objects in reading order.

    Raises:
        ValueError: when there are none or too many of them.
    """
    if count == 1:
        placements: list[Placement] = [(pick(rng, (2, 3)), pick(rng, (2, 3)), LARGE)]
    elif count == 2:
        placements = list(row_pair(rng, third=False))
    elif count == 3:
        placements = [*row_pair(rng, third=True), (pick(rng, (2, 3)), 5, LARGE)]
    elif count == 4:
        (left, right), (up, down) = pick(rng, _APART), pick(rng, _APART)
        placements = [(x, y, LARGE) for y in (up, down) for x in (left, right)]
    elif count == 5:
        # Around a centre at (3, 3) the corners can move along the edge by one patch only.
        shift = [pick(rng, (0, 0, 1)) for _ in range(4)]
        return [
            (shift[0], 0, SMALL),
            (6 - shift[1], 0, SMALL),
            (3, 3, SMALL),
            (shift[2], 6, SMALL),
            (6 - shift[3], 6, SMALL),
        ]
    else:
        raise ValueError(f"a scene holds 1 to 5 objects, not {count}")
    return [_maybe_small(rng, placement) for placement in placements]


def _maybe_small(rng: np.random.Generator, placement: Placement) -> Placement:
    x, y, size = placement
    if not _chance(rng, _SHRINK):
        return placement
    return x + pick(rng, (0, 1)), y + pick(rng, (0, 1)), size - 1
