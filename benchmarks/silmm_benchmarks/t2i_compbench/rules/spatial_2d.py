"""The 2D spatial score of an image from its detections (docs/spec/benchmarks.md 1.7)."""

from __future__ import annotations

from collections.abc import Sequence

from silmm.contracts.benchmarks import Mode
from silmm.contracts.judges import Detections
from silmm_benchmarks.t2i_compbench.rules.box_geometry import Box, centre, iou
from silmm_benchmarks.t2i_compbench.rules.label_matching import first_called

NEAR = 150.0
"""Pixels of the detector's frame (479 wide for square images) within which things are near."""
OVERLAP = 0.1
"""IoU up to which a relation counts in full."""
LEAST = 0.5
"""A lower score becomes 0."""


def relation_2d(
    words: str | None, first: Box, second: Box, *, near: float = NEAR, overlap: float = OVERLAP
) -> float:
    """Return R in [0, 1]: how well the position of the first box relative to the second fits the words.

    "on top of" has no rule in the official script: it is 0, and mode `fixed` asks for "on the top of".

    Raises:
        ZeroDivisionError: both boxes have no area.
    """
    (ax, ay), (bx, by) = centre(first), centre(second)
    dx, dy = bx - ax, by - ay
    shared = iou(first, second)
    if words in ("next to", "on side of", "near"):
        close = abs(dx) < near or abs(dy) < near
        return 1.0 if close else near / max(abs(dx), abs(dy))
    sideways, upright = abs(dx) > abs(dy), abs(dy) > abs(dx)
    right = {
        "on the right of": dx < 0 and sideways,
        "on the left of": dx > 0 and sideways,
        "on the bottom of": dy < 0 and upright,
        "on the top of": dy > 0 and upright,
    }.get(words or "", False)
    if not right:
        return 0.0
    return 1.0 if shared < overlap else overlap / shared


def score_2d(
    detections: Detections, pair: tuple[str | None, str | None], words: str | None, mode: Mode = Mode.OFFICIAL
) -> float:
    """Return an image's 2D score: 0, or 0.5 to 1 (half for both things, half for their relation).

    `official` looks for labels that equal the words; `fixed` for labels that name them or a synonym, and
    reads "on top of" as "on the top of".

    Raises:
        ZeroDivisionError: both boxes have no area.
    """
    find = _exact if mode is Mode.OFFICIAL else first_called
    if mode is Mode.FIXED and words == "on top of":
        words = "on the top of"
    indices = [find(detections.labels, word) for word in pair]
    score = sum(0.25 * float(detections.scores[index]) for index in indices if index is not None)
    if indices[0] is not None and indices[1] is not None:
        first, second = (detections.boxes[index].tolist() for index in indices)
        score += 0.5 * relation_2d(words, first, second)
    return score if score >= LEAST else 0.0


def _exact(labels: Sequence[str], word: str | None) -> int | None:
    return labels.index(word) if word in labels else None
