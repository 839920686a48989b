"""GenEval's rules: which detections count, how two objects stand to each other, whether a prompt's clauses hold.

Source: the official `evaluate_images.py` (docs/spec/geneval.md 2.1-2.4). Arithmetic is float32 where the original's is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silmm.contracts.benchmarks import Mode
from silmm_benchmarks.data.geneval_names import COLOURS

RELATIONS = ("left of", "right of", "above", "below")
_SAME_PLACE = 1e-3
_RATIO = 0.5
"""Of the reduced offset to the offset's length; a relation needs more."""

Box = NDArray[np.float32]
"""x0, y0, x1, y1 in pixels, shape (4,); y grows downwards."""
Metadata = Mapping[str, Any]
"""A line of `evaluation_metadata.jsonl`: tag, include, exclude, prompt."""


@dataclass(frozen=True)
class Thresholds:
    """The official script's options, with its defaults."""

    threshold: float = 0.3
    """Score that an object needs to exceed."""
    counting_threshold: float = 0.9
    """The same for prompts of the tag `counting`."""
    max_objects: int = 16
    """Objects of a class that are kept."""
    max_overlap: float = 1.0
    """IoU from which the weaker of two objects is dropped; 1 drops none, not even an identical box."""
    position_threshold: float = 0.1
    """Share of both extents that is taken off an offset."""


@dataclass(frozen=True)
class ClassObjects:
    """The objects of one class that count, best first."""

    rows: NDArray[np.float32]
    """x0, y0, x1, y1, score; shape (n, 5)."""
    source: tuple[int, ...]
    """The place of each in the detector's rows of this class."""


@dataclass(frozen=True)
class Verdict:
    """Whether an image is right, and the official reasons why not."""

    correct: bool
    reason: str


def kept_objects(rows: NDArray[np.float32], tag: str, options: Thresholds, mode: Mode = Mode.OFFICIAL) -> ClassObjects:
    """Return the objects of one class that count.

    Equal scores: officially the later row comes first (a reversed stable sort), in mode fixed the earlier one.

    Args:
        rows: x0, y0, x1, y1, score of each detection of the class, shape (n, 5).
        tag: of the prompt.
        options: decide score, number and overlap.
        mode: the rules.
    """
    least = np.float32(options.counting_threshold if tag == "counting" else options.threshold)
    scores = rows[:, 4]
    rising = mode is Mode.OFFICIAL
    order = np.argsort(scores, kind="stable")[::-1] if rising else np.argsort(-scores, kind="stable")
    kept = [int(number) for number in order if scores[number] > least][: options.max_objects]
    if options.max_overlap != 1:
        kept = _suppressed(rows, kept, options.max_overlap, mode)
    return ClassObjects(rows[kept], tuple(kept))


def _suppressed(rows: NDArray[np.float32], order: Sequence[int], limit: float, mode: Mode) -> list[int]:
    """Keep an object and drop those behind it that overlap it, again and again."""
    kept: list[int] = []
    left = list(order)
    while left:
        best, *left = left
        kept.append(best)
        left = [number for number in left if overlap(rows[best, :4], rows[number, :4], mode) < limit]
    return kept


def overlap(first: Sequence[Any] | Box, second: Sequence[Any] | Box, mode: Mode = Mode.OFFICIAL) -> float:
    """Return the intersection over union of two boxes whose ends count, so that 0..9 is ten wide; 0 without a union.

    Officially differences are taken in the boxes' own precision, in mode fixed in double.
    """
    if mode is Mode.FIXED:
        first, second = [float(edge) for edge in first], [float(edge) for edge in second]
    inner = [pick(a, b) for pick, a, b in zip((max, max, min, min), first, second, strict=True)]
    shared, area, other = _area(inner), _area(first), _area(second)
    union = area + other - shared
    return shared / union if union else 0.0


def _area(box: Sequence[Any] | Box) -> float:
    return max(float(box[2] - box[0]) + 1, 0.0) * max(float(box[3] - box[1]) + 1, 0.0)


def relations(first: Box, second: Box, position_threshold: float = 0.1) -> tuple[str, ...]:
    """Return what `first` is to `second`: none, one or two of "left of", "right of", "above", "below".

    The offset of the centres, reduced on each axis by `position_threshold` times both extents, is divided by the length
    of the offset before the reduction; a relation needs more than one half.
    """
    boxes = np.asarray([first[:4], second[:4]], dtype=np.float32).reshape(2, 2, 2)
    centres = boxes.mean(axis=1)
    offset = centres[0] - centres[1]
    extents = np.abs(boxes[:, 1] - boxes[:, 0]).sum(axis=0)
    reduced = np.maximum(np.abs(offset) - np.float32(position_threshold) * extents, 0) * np.sign(offset)
    if np.all(np.abs(reduced) < _SAME_PLACE):
        return ()
    x, y = reduced / np.linalg.norm(offset)
    holds = (x < -_RATIO, x > _RATIO, y < -_RATIO, y > _RATIO)
    return tuple(name for name, value in zip(RELATIONS, holds, strict=True) if value)


def colour_clauses(metadata: Metadata, objects: Mapping[str, ClassObjects]) -> list[tuple[str, tuple[int, ...]]]:
    """Return each class whose objects' colours are asked, with their places in the detector's rows of the class."""
    asked = []
    for clause in metadata.get("include", ()):
        source = _of(objects, clause["class"]).source[: clause["count"]]
        if "color" in clause and len(source) >= clause["count"]:
            asked.append((str(clause["class"]), source))
    return asked


def evaluate(
    metadata: Metadata,
    objects: Mapping[str, ClassObjects],
    colours_of: Callable[[str, tuple[int, ...]], Sequence[str]],
    position_threshold: float = 0.1,
) -> Verdict:
    """Apply a prompt's clauses to the objects of an image.

    Args:
        metadata: of the prompt.
        objects: class → its objects that count.
        colours_of: the colours of a class' objects, which are named by their places in the detector's rows.
        position_threshold: see :func:`relations`.

    Raises:
        KeyError, IndexError: a clause refers to a later clause, or excludes zero objects of an absent class: the
            official script stops there too.
    """
    reasons: list[str] = []
    groups: list[NDArray[np.float32] | None] = []
    for clause in metadata.get("include", ()):
        why, rows = _included(clause, objects, groups, colours_of, position_threshold)
        reasons += [why] if why else []
        groups.append(None if why else rows)
    for clause in metadata.get("exclude", ()):
        name, count = clause["class"], clause["count"]
        if len(_of(objects, name).rows) >= count:
            reasons.append(f"expected {name}<{count}, found {len(objects[name].rows)}")
    return Verdict(not reasons, "\n".join(reasons))


def _included(
    clause: Mapping[str, Any],
    objects: Mapping[str, ClassObjects],
    groups: Sequence[NDArray[np.float32] | None],
    colours_of: Callable[[str, tuple[int, ...]], Sequence[str]],
    position_threshold: float,
) -> tuple[str, NDArray[np.float32]]:
    """Return why a clause of `include` does not hold, or "", and the objects it took."""
    name, count = clause["class"], clause["count"]
    taken = _of(objects, name)
    rows = taken.rows[:count]
    if len(rows) < count:
        return f"expected {name}>={count}, found {len(rows)}", rows
    if "color" in clause:
        wanted, colours = clause["color"], list(colours_of(name, taken.source[:count]))
        if colours.count(wanted) < count:
            others = ", ".join(f"{colours.count(colour)} {colour}" for colour in COLOURS if colour in colours)
            counted = f"found {colours.count(wanted)} {wanted}; and {others}"
            return f"expected {wanted} {name}>={count}, {counted}", rows
    if "position" in clause:
        relation, number = clause["position"]
        target = groups[number]
        if target is None:
            return f"no target for {name} to be {relation}", rows
        for row in rows:
            for other in target:
                held = relations(row, other, position_threshold)
                if relation not in held:
                    return f"expected {name} {relation} target, found {' and '.join(held)} target", rows
    return "", rows


def _of(objects: Mapping[str, ClassObjects], name: str) -> ClassObjects:
    return objects.get(name) or ClassObjects(np.empty((0, 5), np.float32), ())


def details_text(objects: Mapping[str, ClassObjects]) -> str:
    """Return the official field `details`: class → rows of the objects that count, float32 widened to double."""
    return json.dumps({name: [[float(value) for value in row] for row in kept.rows] for name, kept in objects.items()})
