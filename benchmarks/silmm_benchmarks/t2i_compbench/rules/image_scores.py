"""Applies the rules of a category to the judges' stored answers about one image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from silmm.contracts.benchmarks import Item, JudgedImage, Mode, Request
from silmm.contracts.judges import Detections
from silmm_benchmarks.t2i_compbench.rules.attribute_binding import attribute_score
from silmm_benchmarks.t2i_compbench.rules.numeracy import numeracy_score
from silmm_benchmarks.t2i_compbench.rules.spatial_2d import score_2d
from silmm_benchmarks.t2i_compbench.rules.spatial_3d import frame_depth, score_3d
from silmm_benchmarks.t2i_compbench.rules.three_in_one import PARTS, three_in_one

YES_NO, CLIP, DETECTOR_2D, DETECTOR, DEPTH = "yes-no", "clip", "detector-2d", "detector", "depth"
SCORE = "score"
"""The number that a column averages; complex images also have their parts by name."""
FAILED, MISSING = "failed", "missing"
"""Why an image has no score, and the roles, separated by commas, whose answers it lacks."""

_PARTS_OF = {
    **dict.fromkeys(("color", "shape", "texture"), ("attribute",)),
    "spatial": ("spatial",),
    "3d_spatial": ("3d_spatial",),
    "numeracy": ("numeracy",),
    "non_spatial": ("clip",),
}
_ROLES_OF = {
    "attribute": (YES_NO,),
    "spatial": (DETECTOR_2D,),
    "3d_spatial": (DETECTOR, DEPTH),
    "numeracy": (DETECTOR,),
    "clip": (CLIP,),
}


def parts_of(item: Item) -> Sequence[str]:
    """Return the scores that make an item's score: one, or two or three of a complex prompt."""
    return PARTS[item.details["group"]] if item.category == "complex" else _PARTS_OF[item.category]


def requests_of(item: Item) -> list[Request]:
    """Return what an item's score needs; a prompt without noun phrases asks no question."""
    queries = {YES_NO: item.details.get("questions", ()), CLIP: (item.details.get("text"),)}
    roles = [role for part in parts_of(item) for role in _ROLES_OF[part]]
    requests = [Request(role, tuple(queries.get(role, ()))) for role in roles]
    return [request for request in requests if request.judge != YES_NO or request.queries]


def score_image(judged: JudgedImage, mode: Mode) -> dict[str, Any]:
    """Return an image's score and its parts, or why there is none."""
    item = judged.item
    if "failed" in item.details:
        return {FAILED: item.details["failed"]}
    missing = [role.judge for role in requests_of(item) if role.judge not in judged.answers]
    numbers: dict[str, Any] = {}
    for part in parts_of(item):
        if not set(_ROLES_OF[part]).intersection(missing):
            try:
                numbers[part] = _part(part, item, judged.answers, mode)
            except ZeroDivisionError:
                return {FAILED: "both boxes have no area"}
            except ValueError as error:
                return {FAILED: str(error)}
    if missing:
        return {**numbers, MISSING: ", ".join(missing)}
    return {**numbers, SCORE: three_in_one(numbers, item.details["group"])} if len(numbers) > 1 else {
        SCORE: next(iter(numbers.values()))
    }


def _part(part: str, item: Item, answers: Mapping[str, Sequence[Any]], mode: Mode) -> float:
    details = item.details
    if part == "attribute":
        return attribute_score(_finite(answers.get(YES_NO, ()), "P(yes)"))
    if part == "clip":
        return _finite(answers[CLIP], "similarity")[0]
    detections = _sound(answers[DETECTOR_2D if part == "spatial" else DETECTOR][0])
    if part == "numeracy":
        return numeracy_score(detections, details["wanted"], mode)
    first, second = details["objects"]
    if part == "spatial":
        return score_2d(detections, (first, second), details["relation"], mode)
    depth = frame_depth(answers[DEPTH][0], detections.frame)
    return score_3d(detections, depth, (first, second), details["relation"], mode)


def _finite(values: Iterable[float], what: str) -> list[float]:
    numbers = [float(value) for value in values]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"the judge gave a {what} that is not finite")
    return numbers


def _sound(detections: Detections) -> Detections:
    """Refuse what the checkpoints with damaged statistics give: all scores NaN, which would read as 0."""
    _finite(detections.scores, "score of a detection")
    _finite(detections.boxes.reshape(-1), "box")
    return detections
