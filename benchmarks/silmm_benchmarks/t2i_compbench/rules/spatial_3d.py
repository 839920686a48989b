"""The 3D spatial score of an image from its detections and its depth map (docs/spec/benchmarks.md 1.8)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from silmm.contracts.benchmarks import Mode
from silmm.contracts.judges import Detections
from silmm_benchmarks.t2i_compbench.prompts.related_objects import RELATIONS_3D
from silmm_benchmarks.t2i_compbench.rules.box_geometry import Box, iou
from silmm_benchmarks.t2i_compbench.rules.label_matching import first_called
from silmm_benchmarks.t2i_compbench.rules.spatial_2d import relation_2d

OVERLAP = 0.5
"""IoU from which a relation in depth counts in full; boxes that do not meet have none."""

Depth = NDArray[np.float64]


def frame_depth(depth: NDArray[np.uint8], frame: tuple[int, int]) -> Depth:
    """Return an 8-bit map of (height, width), resized to the boxes' frame (width, height), in [0, 1]."""
    from PIL import Image

    resized = Image.fromarray(depth).resize(frame, Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float64) / 255


def mean_depth(depth: Depth, box: Box, mode: Mode = Mode.OFFICIAL) -> float:
    """Return the mean of the map inside a box, NaN where the box covers no pixel.

    `official` takes x for rows and y for columns, as the script does; `fixed` takes them straight.
    """
    left, upper, right, lower = (int(edge) for edge in box)
    rows, columns = slice(upper, lower), slice(left, right)
    crop = depth[columns, rows] if mode is Mode.OFFICIAL else depth[rows, columns]
    return float(crop.mean()) if crop.size else float("nan")


def relation_3d(
    words: str | None, first: Box, second: Box, depth: Depth, mode: Mode = Mode.OFFICIAL
) -> float:
    """Return R in [0, 1]: whether the first box is nearer or farther than the second as the words say.

    Raises:
        ZeroDivisionError: both boxes have no area.
    """
    if words not in RELATIONS_3D:
        return relation_2d(words, first, second)
    shared = iou(first, second)
    nearer = mean_depth(depth, first, mode) - mean_depth(depth, second, mode)
    right = nearer > 0 if words == "in front of" else nearer < 0
    if not right or shared <= 0 or shared == OVERLAP:
        return 0.0
    return 1.0 if shared > OVERLAP else shared / OVERLAP


def score_3d(
    detections: Detections,
    depth: Depth,
    pair: tuple[str | None, str | None],
    words: str | None,
    mode: Mode = Mode.OFFICIAL,
) -> float:
    """Return an image's 3D score in [0, 1]: a quarter for each thing, half for their order in depth.

    `official` looks for the words inside labels and takes the last match before the other is found;
    `fixed` takes the highest score whose label names the word or a synonym.

    Raises:
        ZeroDivisionError: both boxes have no area.
        ValueError: a word is found only across two labels; the official script stops there.
    """
    indices = (
        _substrings(detections.labels, pair)
        if mode is Mode.OFFICIAL
        else [first_called(detections.labels, word) for word in pair]
    )
    score = sum(0.25 * float(detections.scores[index]) for index in indices if index is not None)
    if indices[0] is not None and indices[1] is not None:
        first, second = (detections.boxes[index].tolist() for index in indices)
        score += 0.5 * relation_3d(words, first, second, depth, mode)
    return score


def _substrings(labels: Sequence[str], pair: tuple[str | None, str | None]) -> list[int | None]:
    """Return where the words are by the official search: in the joined labels, then label by label."""
    joined = " ".join(labels)
    wanted = [word is not None and word in joined for word in pair]
    indices: list[int | None] = [None, None]
    for index, label in enumerate(labels):
        for side in (0, 1):
            both_wanted = all(wanted)
            if wanted[side] and pair[side] in label and (both_wanted or indices[side] is None):  # type: ignore[operator]
                indices[side] = index
        if all(wanted) and None not in indices:
            break
    for side in (0, 1):
        if wanted[side] and indices[side] is None:
            raise ValueError(f"{pair[side]!r} is found only across two neighbouring labels")
    return indices
