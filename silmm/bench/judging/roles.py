"""Asks the judge of a role, and checks the answers before they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from silmm.bench.judging.answer_validation import (
    choice,
    cosine,
    depth,
    detections,
    faulty,
    probability,
    probability_pair,
    rating,
    text,
)
from silmm.contracts.benchmarks import Request
from silmm.contracts.judges import ROLES, Judge, Question, Region
from silmm.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

WITHOUT_IMAGES = frozenset({"match"})
"""Methods that read no image."""
WITHOUT_QUERIES = frozenset({"detect", "depth"})
"""Methods that take no query: one answer per image."""


def method_of(role: str) -> str:
    """Return the method that answers a role.

    Raises:
        UsageError: no judge has such a role.
    """
    names = [name for name in ROLES if role == name or role.startswith(f"{name}-")]
    if not names:
        raise UsageError(f"no judge has a role {role!r}. Roles: {', '.join(ROLES)}.")
    return ROLES[max(names, key=len)]


def queries_of(request: Request) -> Sequence[Any]:
    """Return the queries of a request; where the method takes none, there is one that is None."""
    return (None,) if method_of(request.judge) in WITHOUT_QUERIES else request.queries


def check_ability(judge: Judge, role: str, name: str) -> None:
    """Refuse a judge that cannot answer its role.

    Raises:
        UsageError: it lacks the method; the message names the roles that it can have.
    """
    if _can(judge, method_of(role)):
        return
    roles = [role for role, method in ROLES.items() if _can(judge, method)]
    raise UsageError(
        f"the judge {name!r} cannot be {role}: it can be {', '.join(roles) or 'none of the roles'}. "
        "`silmm plugins --kind judge` lists the others."
    )


def _can(judge: Judge, method: str) -> bool:
    """Return whether a judge has a method, or one that its answers can be computed from."""
    methods = (method, "yes_no") if method == "p_yes" else (method,)
    return any(callable(getattr(judge, name, None)) for name in methods)


def ask(
    judge: Judge, role: str, images: Sequence[Image], queries: Sequence[Sequence[Any]]
) -> list[list[Any]]:
    """Ask a judge about several images at once and return one list of answers per image.

    Args:
        judge: a judge that passed :func:`check_ability`.
        role: decides the method.
        images: RGB images; unused by a matcher.
        queries: those of each image; for detectors and depth one empty query.

    Raises:
        DataError: the answers are not of the form that the contract states.
    """
    method = method_of(role)
    answers = _ASK.get(method, _ask_by_image)(judge, role, images, queries)
    if [len(row) for row in answers] != [len(row) for row in queries]:
        raise faulty(role, f"{sum(map(len, answers))} answers to {sum(map(len, queries))} questions")
    if method == "depth":
        answers = [[depth(row[0], image.size, role)] for image, row in zip(images, answers, strict=True)]
    return answers


def _ask_two_choices(judge: Any, role: str, images: Sequence[Image], queries: Sequence[Any]) -> list[list[Any]]:
    """Take p_yes where the judge has it, else p(yes) / (p(yes) + p(no))."""
    if callable(getattr(judge, "p_yes", None)):
        rows = judge.p_yes(images, queries)
    else:
        with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: a failure of its image
            rows = [
                pairs[:, 0] / pairs.sum(axis=1)
                for pairs in map(_as_pairs, _ask_probabilities(judge, role, images, queries))
            ]
    return [[probability(value, role) for value in row] for row in rows]


def _ask_probabilities(judge: Any, role: str, images: Sequence[Image], queries: Sequence[Any]) -> list[list[Any]]:
    return [[probability_pair(pair, role) for pair in row] for row in judge.yes_no(images, queries)]


def _ask_questions(judge: Any, role: str, images: Sequence[Image], queries: Sequence[Any]) -> list[list[Any]]:
    questions = [[_question(query) for query in row] for row in queries]
    return [[text(answer, role) for answer in row] for row in judge.answer(images, questions)]


def _ask_colours(judge: Any, role: str, images: Sequence[Image], queries: Sequence[Any]) -> list[list[Any]]:
    regions = [[_region(query) for query in row] for row in queries]
    return [[text(answer, role) for answer in row] for row in judge.colours(images, regions)]


def _ask_texts(judge: Any, role: str, images: Sequence[Image], queries: Sequence[Any]) -> list[list[Any]]:
    method = method_of(role)
    check = cosine if method == "similarity" else rating
    values = getattr(judge, method)(
        [image for image, row in zip(images, queries, strict=True) for _ in row],
        [str(query) for row in queries for query in row],
    )
    return _regroup([check(value, role) for value in values], queries)


def _ask_matches(judge: Any, role: str, images: Sequence[Image], queries: Sequence[Any]) -> list[list[Any]]:
    del images
    flat = [query for row in queries for query in row]
    indices = list(judge.match([query["answer"] for query in flat], [query["choices"] for query in flat]))
    choices = [choice(index, query["choices"], role) for query, index in zip(flat, indices, strict=False)]
    return _regroup([*choices, *indices[len(flat):]], queries)


def _ask_by_image(judge: Any, role: str, images: Sequence[Image], queries: Sequence[Any]) -> list[list[Any]]:
    del queries
    method = method_of(role)
    check = detections if method == "detect" else lambda answer, _: answer
    return [[check(answer, role)] for answer in getattr(judge, method)(images)]


_ASK = {
    "p_yes": _ask_two_choices, "yes_no": _ask_probabilities, "answer": _ask_questions, "colours": _ask_colours,
    "similarity": _ask_texts, "rate": _ask_texts, "match": _ask_matches,
}


def _as_pairs(rows: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(rows, dtype=np.float64).reshape(-1, 2)


def _question(query: Any) -> Question:
    if isinstance(query, str):
        return Question(query)
    return Question(str(query["text"]), tuple(query.get("choices", ())))


def _region(query: Any) -> Region:
    return Region(query["label"], tuple(query["box"]), tuple(query["frame"]), query["mask"])


def _regroup(flat: Sequence[Any], queries: Sequence[Sequence[Any]]) -> list[list[Any]]:
    if len(flat) != sum(map(len, queries)):
        return [list(flat)]  # the caller compares the numbers and reports it
    rest = iter(flat)
    return [[next(rest) for _ in row] for row in queries]
