"""Checks that a judge's answers have the form that `judges.interfaces` promises, before any is stored.

An answer that is not finite is sound in form: it is stored as a failure of its image (`runner.forms`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from silmm.contracts.judges import Detections
from silmm.errors import DataError

ROUNDING = 1e-2
"""By which half precision may pass the end of a range."""


def faulty(role: str, what: str) -> DataError:
    """Return the error of a judge that answers otherwise than it was asked."""
    return DataError(
        f"the judge for {role} gave {what}: it is faulty. Tell its author, or take another with --judge."
    )


def probability(value: Any, role: str) -> float:
    """Return P(yes).

    Raises:
        DataError: it is no number, or not from 0 to 1.
    """
    return _number(value, role, 0, 1)


def cosine(value: Any, role: str) -> float:
    """Return a similarity.

    Raises:
        DataError: it is no number, or not from -1 to 1.
    """
    return _number(value, role, -1, 1)


def text(value: Any, role: str) -> str:
    """Return a free answer.

    Raises:
        DataError: it is no text.
    """
    if not isinstance(value, str):
        raise faulty(role, f"{value!r:.80} in place of a text")
    return str(value)


def choice(index: Any, choices: Sequence[str], role: str) -> str:
    """Return the choice that a matcher points at.

    Raises:
        DataError: it points at none.
    """
    if not isinstance(index, int | np.integer) or not 0 <= index < len(choices):
        raise faulty(role, f"{index!r:.80} in place of one of {len(choices)} choices")
    return choices[int(index)]


def detections(found: Any, role: str) -> Detections:
    """Return what a detector found.

    Raises:
        DataError: labels, scores and boxes do not belong together, a score is not from 0 to 1, or the frame
            has no area.
    """
    if not isinstance(found, Detections):
        raise faulty(role, f"{type(found).__name__} in place of Detections")
    count, scores = len(found.labels), np.asarray(found.scores)
    if scores.shape != (count,) or np.asarray(found.boxes).shape != (count, 4):
        shapes = f"{count} labels, scores {scores.shape}, boxes {np.asarray(found.boxes).shape}"
        raise faulty(role, shapes)
    if found.masks and len(found.masks) != count:
        raise faulty(role, f"{len(found.masks)} masks of {count} objects")
    if min(found.frame) < 1:
        raise faulty(role, f"a frame of {found.frame}")
    for score in scores:
        _number(score, role, 0, 1)
    return found


def depth(found: Any, size: tuple[int, int], role: str) -> Any:
    """Return a map of inverse depth.

    Raises:
        DataError: it is not as large as its image, whose width and height `size` is.
    """
    shape = np.asarray(found).shape
    if shape != size[::-1]:
        raise faulty(role, f"a map of {shape} for an image of {size[0]}x{size[1]} pixels")
    return found


def _number(value: Any, role: str, low: int, high: int) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise faulty(role, f"{value!r:.80} in place of a number") from error
    if math.isfinite(number) and not low - ROUNDING <= number <= high + ROUNDING:
        raise faulty(role, f"{number:g}, which is not from {low} to {high}")
    return number
