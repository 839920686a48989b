"""DPG-Bench's arithmetic: answers of one crop, its masked score, the categories, the overall score.

Source: the official `compute_dpg_bench.py` (docs/spec/benchmarks.md 3.3-3.6). Categories are added up by name in
one process, so the sums that the official script scrambles over several processes cannot happen.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from silmm.contracts.benchmarks import Mode


class LostQuestionError(ValueError):
    """Raised when a question depends on one that does not exist: the official script drops such an image."""


@dataclass(frozen=True)
class CropScore:
    """The score of one crop."""

    score: float
    """Share of the questions that are right together with all that they depend on; in [0, 1]."""
    by_category: Mapping[str, tuple[int, int]]
    """Category → (right answers, questions); unmasked."""


def masked(questions: Sequence[Mapping[str, Any]], right: Sequence[int]) -> list[int]:
    """Set to 0 what depends on a 0, in the order of the file and in place.

    So zeros spread to later rows (grandchildren too), while a parent that comes after its child is read
    before its own parents have changed it.

    Raises:
        LostQuestionError: a parent is not among the questions.
    """
    state = {question["id"]: value for question, value in zip(questions, right, strict=True)}
    for question in questions:
        for parent in question["parents"]:
            if parent not in state:
                raise LostQuestionError(f"question {question['id']} depends on {parent}, which is missing")
            if not state[parent]:
                state[question["id"]] = 0
                break
    return [state[question["id"]] for question in questions]


def score_crop(questions: Sequence[Mapping[str, Any]], answers: Sequence[str], mode: Mode) -> CropScore:
    """Score one crop; `answers` are those to all `questions`, and only "yes" to the letter is right.

    Raises:
        LostQuestionError: a question depends on one that does not count or does not exist, or none counts.
        ValueError: another number of answers than questions.
    """
    if len(answers) != len(questions):
        raise ValueError(f"{len(answers)} answers to {len(questions)} questions")
    pairs = zip(questions, answers, strict=True)
    right = [int(answer == "yes") for question, answer in pairs if _counts(question, mode)]
    counted = [question for question in questions if _counts(question, mode)]
    if not counted:
        raise LostQuestionError("no question is left")
    final = masked(counted, right)
    asked, correct = Counter[str](), Counter[str]()
    for question, value in zip(counted, right, strict=True):
        asked[question["category"]] += 1
        correct[question["category"]] += value
    return CropScore(
        sum(final) / len(final), {name: (correct[name], count) for name, count in asked.items()}
    )


def category_crops(crops: int, mode: Mode) -> range:
    """Return which crops of an image count for categories: officially the last one alone."""
    return range(crops - 1, crops) if mode is Mode.OFFICIAL else range(crops)


def coarse(category: str) -> str:
    """Return the L1 category of an L2 one: entity, attribute, relation, global, other."""
    return category.partition("-")[0].strip()


def image_score(crops: Sequence[float]) -> float:
    """Return an image's score, the mean over its crops; in [0, 1]."""
    return math.fsum(crops) / len(crops)


def _counts(question: Mapping[str, Any], mode: Mode) -> bool:
    """Return whether a question counts: officially all but the first row of the file."""
    return mode is Mode.FIXED or not question["first_row"]
