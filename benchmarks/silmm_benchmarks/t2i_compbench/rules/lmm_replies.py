"""Reads the replies of LMMs that are asked for a score, the optional evaluators (docs/spec/benchmarks.md 1.11)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

ATTRIBUTE_LEVELS = {1: 10, 2: 20, 3: 75, 4: 100}
"""ShareGPT4V's levels for attributes, in percent."""
RELATION_LEVELS = {1: 20, 2: 40, 3: 60, 4: 80, 5: 100}
"""ShareGPT4V's levels for relations and the rest, in percent."""
_GPT4V = re.compile(r'"score": (\d+),')


def gpt4v_scores(reply: str) -> list[int]:
    """Return all scores of a reply that are spelt exactly as the official pattern wants them."""
    return [int(number) for number in _GPT4V.findall(reply)]


def gpt4v_average(reply: str) -> float:
    """Return the mean of a reply's scores; 0 where none is found, as officially."""
    scores = gpt4v_scores(reply)
    return sum(scores) / len(scores) if scores else 0.0


def sharegpt4v_score(replies: Sequence[str], levels: dict[int, int]) -> float:
    """Return the product of the replies' levels, 0 to 100; a reply that cannot be read counts as 100 %."""
    score = 1.0
    for reply in replies:
        score *= levels.get(_level(reply) or 0, 100) / 100
    return score * 100


def _level(reply: str) -> int | None:
    try:
        # strict=False: replies hold bare line ends inside their explanations
        return int(json.loads(reply, strict=False)["score"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
