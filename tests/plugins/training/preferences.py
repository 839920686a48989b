"""Preferences of the tiny random model: candidates that it sampled itself, with pairs."""

from __future__ import annotations

import numpy as np

from silmm.contracts.models import Preference
from tests.toy.tiny_random import CODES, LENGTH, PROMPTS


def preferences(count: int = 8, k: int = 2, seed: int = 0) -> list[Preference]:
    """Return top-k × last-k preferences; a chosen holds low codes, a rejected high ones."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        low = [rng.integers(0, CODES // 2, LENGTH).astype(np.int32) for _ in range(k)]
        high = [rng.integers(CODES // 2, CODES, LENGTH).astype(np.int32) for _ in range(k)]
        pairs = tuple((c, k + r) for c in range(k) for r in range(k))
        made.append(Preference(PROMPTS[index % len(PROMPTS)], (*low, *high), pairs))
    return made
