"""What each role of a judge is asked, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from silmm.bench.answer_validation import choice, cosine, depth, detections, faulty, probability, text
from silmm.contracts.judges import Judge, Question, Region
from silmm.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

METHODS: Mapping[str, str] = {
    "yes-no": "p_yes",
    "vqa": "answer",
    "clip": "similarity",
    "detector": "detect",
    "colours": "colours",
    "depth": "depth",
    "matcher": "match",
}
"""Role -> the method of `judges.interfaces` that answers it; `detector-2d` is a detector too."""

UNSEEN = frozenset({"match"})
"""Methods that read no image."""
WHOLE = frozenset({"detect", "depth"})
"""Methods that are asked nothing: one answer an image."""


def method_of(role: str) -> str:
    """Return the method that answers a role.

    Raises:
        UsageError: no judge has such a role.
    """
    known = [name for name in METHODS if role == name or role.startswith(f"{name}-")]
    if not known:
        raise UsageError(f"there is no role {role!r} of a judge. Roles: {', '.join(METHODS)}.")
    return METHODS[max(known, key=len)]


def check_ability(judge: Judge, role: str, name: str) -> None:
    """Refuse a judge that cannot answer its role.

    Raises:
        UsageError: it lacks the method; the message says what it can do.
    """
    if callable(getattr(judge, method_of(role), None)):
        return
    able = [role for role, method in METHODS.items() if callable(getattr(judge, method, None))]
    raise UsageError(
        f"the judge {name!r} cannot be {role}: it can be {', '.join(able) or 'nothing that is known here'}. "
        "`silmm plugins --kind judge` lists the others."
    )


def ask(
    judge: Judge, role: str, images: Sequence[Image], queries: Sequence[Sequence[Any]]
) -> list[list[Any]]:
    """Ask a judge about some images at once and return one list of answers an image.

    Args:
        judge: what :func:`check_ability` let through.
        role: decides the method.
        images: RGB images; not looked at by a matcher.
        queries: of each image; for detectors and depth one empty query.

    Raises:
        DataError: the judge gave other answers than it was asked for.
    """
    method = method_of(role)
    judged: Any = judge
    answers: list[list[Any]]
    if method == "p_yes":
        answers = [[probability(value, role) for value in one] for one in judged.p_yes(images, queries)]
    elif method == "answer":
        asked = [[_question(query) for query in one] for one in queries]
        answers = [[text(answer, role) for answer in one] for one in judged.answer(images, asked)]
    elif method == "colours":
        regions = [[_region(query) for query in one] for one in queries]
        answers = [[text(answer, role) for answer in one] for one in judged.colours(images, regions)]
    elif method == "similarity":
        flat = judged.similarity(
            [image for image, one in zip(images, queries, strict=True) for _ in one],
            [str(query) for one in queries for query in one],
        )
        answers = _regroup([cosine(value, role) for value in flat], queries)
    elif method == "match":
        wanted = [query for one in queries for query in one]
        picked = list(judged.match([q["answer"] for q in wanted], [q["choices"] for q in wanted]))
        found = [choice(index, query["choices"], role) for query, index in zip(wanted, picked, strict=False)]
        answers = _regroup([*found, *picked[len(wanted):]], queries)
    elif method == "detect":
        answers = [[detections(found, role)] for found in judged.detect(images)]
    else:
        answers = [[one] for one in getattr(judged, method)(images)]
    if [len(one) for one in answers] != [len(one) for one in queries]:
        raise faulty(role, f"{sum(map(len, answers))} answers to {sum(map(len, queries))} questions")
    if method == "depth":
        answers = [[depth(one, image.size, role)] for image, (one,) in zip(images, answers, strict=True)]
    return answers


def _question(query: Any) -> Question:
    if isinstance(query, str):
        return Question(query)
    return Question(str(query["text"]), tuple(query.get("choices", ())))


def _region(query: Any) -> Region:
    return Region(query["label"], tuple(query["box"]), tuple(query["frame"]), query["mask"])


def _regroup(flat: Sequence[Any], queries: Sequence[Sequence[Any]]) -> list[list[Any]]:
    if len(flat) != sum(map(len, queries)):
        return [list(flat)]  # told by the caller, which compares the numbers
    rest = iter(flat)
    return [[next(rest) for _ in one] for one in queries]
