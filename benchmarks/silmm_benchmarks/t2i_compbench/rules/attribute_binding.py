"""Attribute binding by BLIP-VQA: from noun phrases to questions and one number (docs/spec/benchmarks.md 1.4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MOST_QUESTIONS = 8
"""`np_num` of the official script: the ninth phrase and later ones are not asked."""
NO_OBJECTS = frozenset({"top", "the side", "the left", "the right"})
"""Chunks that name a place; the comparison is by exact text, "The left" is asked."""


def questions(phrases: Sequence[str], most: int = MOST_QUESTIONS) -> list[str]:
    """Return the question of each noun phrase that is asked (docs/spec/benchmarks.md 1.4)."""
    return [f"{phrase}?" for phrase in phrases if phrase not in NO_OBJECTS][:most]


def attribute_score(p_yes: Sequence[float]) -> float:
    """Return an image's score: the product of P(yes) over its phrases, 1.0 where there are none.

    Each probability is rounded to four decimals, the product is taken in 32 bit and rounded again, as the
    official script writes and reads its files (docs/spec/benchmarks.md 1.4).
    """
    product = np.float32(1)
    for probability in p_yes:
        product *= np.float32(f"{probability:.4f}")
    return float(f"{product:.4f}")
