"""Turns a language model's reply into questions and drops those that a text model cannot answer.

Optional in TIFA: the v1.0 questions are given. Source: docs/spec/benchmarks.md 2.5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from silmm_benchmarks.tifa.questions import TYPES

_HEADER_LINES = 6  # the entities, activities, colors, … that the model lists before its questions
_MERGED = {"animal": "animal/human", "human": "animal/human"}
_ABOUT = re.compile(r"About (?P<element>.+?) \((?P<kind>[^)]*)\)")
_LEAST_F1 = 0.6

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_DIGITS = {word: str(number) for number, word in enumerate(_ONES)} | {
    word: str(10 * number) for number, word in enumerate(_TENS, start=2)
}


def parse_reply(reply: str) -> list[dict[str, Any]]:
    """Return the questions of a reply: question, choices, answer, element, element_type.

    Questions start on line 7, under lines "About X (type):"; each is "Q:", "Choices: a, b, …" and "A:".
    Animals and humans are one type; questions of unknown types and incomplete ones are dropped.
    """
    questions: list[dict[str, Any]] = []
    about: dict[str, str] = {}
    parts: dict[str, Any] = {}
    for line in reply.split("\n")[_HEADER_LINES:]:
        if header := _ABOUT.match(line):
            kind = header["kind"].strip()
            about = {"element": header["element"], "element_type": _MERGED.get(kind, kind)}
            parts = {}
        elif line.startswith("Q: "):
            parts = {"question": line[3:].strip()}
        elif line.startswith("Choices: "):
            parts["choices"] = line[len("Choices: ") :].strip().split(", ")
        elif line.startswith("A: "):
            complete = {"question", "choices"} <= parts.keys()
            if complete and about.get("element_type") in TYPES:
                questions.append({**parts, "answer": line[3:].strip(), **about})
            parts = {}
    return questions


def token_f1(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Return the F1 of two lists of words, by membership: a repeated word counts each time on its side."""
    if not gold or not predicted:
        return float(not gold and not predicted)
    precision = sum(word in gold for word in predicted) / len(predicted)
    recall = sum(word in predicted for word in gold) / len(gold)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def answers_agree(gold: str, free: str) -> bool:
    """Return whether a free answer has an F1 above 0.6; number words are digits where gold is numeric."""
    expected, answered = _words(gold), _words(free)
    if gold.strip().isnumeric():
        answered = [_DIGITS.get(word, word) for word in answered]
    return token_f1(expected, answered) > _LEAST_F1


def keep_answerable(
    questions: Iterable[Mapping[str, Any]],
    choose: Callable[[Mapping[str, Any]], str],
    answer: Callable[[Mapping[str, Any]], str],
) -> list[Mapping[str, Any]]:
    """Drop the questions of one caption that come twice or that the text model answers otherwise.

    Args:
        questions: rows with `question` and `answer`.
        choose: the text model's answer to a row, given the caption and (at most four) choices.
        answer: its free answer; asked only where the right answer is neither yes nor no.
    """
    kept: list[Mapping[str, Any]] = []
    texts: set[str] = set()
    for row in questions:
        if row["question"] in texts:
            continue
        texts.add(row["question"])
        closed = row["answer"] in ("yes", "no")
        if choose(row) == row["answer"] and (closed or answers_agree(row["answer"], answer(row))):
            kept.append(row)
    return kept


def _words(text: str) -> list[str]:
    return "".join(char for char in text.lower() if char.isalnum() or char.isspace()).split()
