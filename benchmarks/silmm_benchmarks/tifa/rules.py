"""TIFA's arithmetic: which choice an answer stands for, the caption's score, the official result file.

Source: the official `tifa_score_benchmark` and `MCSbert` (docs/spec/benchmarks.md 2.3, 2.4).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def unmatched(questions: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> list[int]:
    """Return the indices of the answers that are not literally a choice (case and spaces count)."""
    return [
        index
        for index, (question, answer) in enumerate(zip(questions, answers, strict=True))
        if answer not in question["choices"]
    ]


def chosen(
    questions: Sequence[Mapping[str, Any]], answers: Sequence[str], matched: Sequence[str]
) -> list[str]:
    """Return the choice that each answer stands for; `matched` are the matcher's, for :func:`unmatched`.

    Raises:
        ValueError: another number of matched answers than needed, or one that is no choice.
    """
    indices = unmatched(questions, answers)
    mapped = list(answers)
    for index, choice in zip(indices, matched, strict=True):
        if choice not in questions[index]["choices"]:
            raise ValueError(f"{choice!r} is none of the choices {questions[index]['choices']}")
        mapped[index] = choice
    return mapped


def question_scores(questions: Sequence[Mapping[str, Any]], choices: Sequence[str]) -> list[int]:
    """Return 1 for each choice that equals the gold answer to the letter, else 0."""
    return [
        int(choice == question["answer"]) for question, choice in zip(questions, choices, strict=True)
    ]


def official_result(rows: Iterable[tuple[Mapping[str, Any], str, str]]) -> dict[str, Any]:
    """Return what the official script writes as its result file.

    Args:
        rows: each question's record with the free answer and the choice it stands for, in file order.

    Returns:
        `tifa_average` (mean of the captions' means), `tifa_stdev` (n - 1), `accuracy_by_type` (means over
        questions), `question_details` (a text repeated in a caption is stored once, though scored twice),
        `caption_scores`.

    Raises:
        statistics.StatisticsError: no question, or one caption alone, whose deviation does not exist.
    """
    details: dict[str, dict[str, Any]] = {}
    captions: dict[str, list[int]] = {}
    types: dict[str, list[int]] = {}
    for question, answer, choice in rows:
        key, score = str(question["id"]), question_scores([question], [choice])[0]
        captions.setdefault(key, []).append(score)
        types.setdefault(question["element_type"], []).append(score)
        details.setdefault(key, {})[question["question"]] = {
            **question, "free_form_vqa": answer, "multiple_choice_vqa": choice, "scores": score,
        }  # fmt: skip
    means = {key: statistics.mean(scores) for key, scores in captions.items()}
    return {
        "tifa_average": statistics.mean(means.values()),
        "tifa_stdev": statistics.stdev(means.values()),
        "accuracy_by_type": {kind: statistics.mean(scores) for kind, scores in types.items()},
        "question_details": details,
        "caption_scores": means,
    }
