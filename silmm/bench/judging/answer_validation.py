"""Checks that a judge's answers have the form that :mod:`silmm.contracts.judges` states, before any is stored.

An answer that is not finite has the right form: it is stored as a failure of its image
(:mod:`silmm.bench.judging.answer_codec`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from silmm.contracts.judges import Detections
from silmm.errors import DataError

ROUNDING = 1e-2
"""How far half precision may pass the end of a range."""


def faulty(role: str, what: str) -> DataError:
    """Return the error for a judge whose answers are not of the form that its contract states."""
    return DataError(
        f"the judge for {role} gave {what}: it is faulty. Report it to its author, or take another with --judge."
    )


def probability(value: Any, role: str) -> float:
    """Return P(yes).

    Raises:
        DataError: it is no number, or not from 0 to 1.
    """
    return _number(value, role, 0, 1)


def probability_pair(values: Any, role: str) -> list[float]:
    """Return p(yes) and p(no).

    Raises:
        DataError: they are not two numbers from 0 to 1.
    """
    shape = np.shape(values)
    if shape != (2,):
        raise faulty(role, f"an array of shape {shape} in place of p(yes) and p(no)")
    return [_number(value, role, 0, 1) for value in values]


def cosine(value: Any, role: str) -> float:
    """Return a similarity.

    Raises:
        DataError: it is no number, or not from -1 to 1.
    """
    return _number(value, role, -1, 1)


def rating(value: Any, role: str) -> float:
    """Return a rating, whose scale is the judge's own.

    Raises:
        DataError: it is no number.
    """
    return _number(value, role, -math.inf, math.inf)


def text(value: Any, role: str) -> str:
    """Return a free answer.

    Raises:
        DataError: it is no text.
    """
    if not isinstance(value, str):
        raise faulty(role, f"{value!r:.80} in place of a text")
    return str(value)


def choice(index: Any, choices: Sequence[str], role: str) -> str:
    """Return the choice at the index that a matcher gave.

    Raises:
        DataError: there is no such choice.
    """
    if not isinstance(index, int | np.integer) or not 0 <= index < len(choices):
        raise faulty(role, f"{index!r:.80} in place of one of {len(choices)} choices")
    return choices[int(index)]


def detections(answer: Any, role: str) -> Detections:
    """Return the detections of one image.

    Raises:
        DataError: labels, scores and boxes do not belong together, a score is not from 0 to 1, or the frame
            has no area.
    """
    if not isinstance(answer, Detections):
        raise faulty(role, f"{type(answer).__name__} in place of Detections")
    count, scores = len(answer.labels), np.asarray(answer.scores)
    if scores.shape != (count,) or np.asarray(answer.boxes).shape != (count, 4):
        shapes = f"{count} labels, scores {scores.shape}, boxes {np.asarray(answer.boxes).shape}"
        raise faulty(role, shapes)
    if answer.masks and len(answer.masks) != count:
        raise faulty(role, f"{len(answer.masks)} masks of {count} objects")
    if min(answer.frame) < 1:
        raise faulty(role, f"a frame of {answer.frame}")
    for score in scores:
        _number(score, role, 0, 1)
    return answer


def depth(answer: Any, size: tuple[int, int], role: str) -> Any:
    """Return a map of inverse depth.

    Raises:
        DataError: it has not the width and height `size` of its image.
    """
    shape = np.asarray(answer).shape
    if shape != size[::-1]:
        raise faulty(role, f"a map of {shape} for an image of {size[0]}x{size[1]} pixels")
    return answer


def _number(value: Any, role: str, low: float, high: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise faulty(role, f"{value!r:.80} in place of a number") from error
    if math.isfinite(number) and not low - ROUNDING <= number <= high + ROUNDING:
        raise faulty(role, f"{number:g}, which is not from {low} to {high}")
    return number
