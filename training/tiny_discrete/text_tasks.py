"""The chat tasks of the tiny models: listing, writing, decomposing and asking."""

from __future__ import annotations

import numpy as np
from silmm_benchmarks.shapes.facts import atomic_facts, question, statement
from silmm_benchmarks.shapes.language import (
    CATEGORIES,
    COUNT_WORDS,
    PHRASES,
    VOCABULARY,
    caption,
)  # fmt: skip
from silmm_benchmarks.shapes.splits import training_spec
from silmm_benchmarks.shapes.world import COLORS, SHAPES, TEXTURES
from silmm_plugins.models.tiny.vocabulary import Vocabulary

LISTS = {
    "shapes": SHAPES, "colors": COLORS, "textures": TEXTURES, "numbers": COUNT_WORDS,
    "2d spatial relations": tuple(PHRASES[r] for r in ("left", "right", "above", "below")),
    "3d spatial relations": tuple(PHRASES[r] for r in ("in front of", "behind")),
}  # fmt: skip
"""Topic of a `list` request -> the entries in this world."""

WORDS = tuple(dict.fromkeys((
    *VOCABULARY, ";", "shapes", "colors", "textures", "numbers", "2d", "3d", "relations", *CATEGORIES,
)))  # fmt: skip
"""Every word of the tiny models."""


def make_vocabulary() -> Vocabulary:
    """Return the vocabulary of the tiny models."""
    return Vocabulary(WORDS)


class TextTask:
    """Samples (request, answer) pairs of token ids: <bos> <task> words, and words <eos>."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Take the vocabulary."""
        self.vocabulary = vocabulary

    def texts(self, rng: np.random.Generator) -> tuple[str, str, str]:
        """Sample (task, input, answer)."""
        sample = rng.random()
        if sample < 0.1:
            name = list(LISTS)[int(rng.integers(len(LISTS)))]
            items = [str(x) for x in rng.permutation(np.array(LISTS[name], dtype=object))]
            return "list", name, ", ".join(items)
        category = CATEGORIES[int(rng.integers(len(CATEGORIES)))]
        spec = training_spec(rng, category)
        if sample < 0.35:
            return "write", category, caption(spec, rng)
        facts = atomic_facts(spec)
        if sample < 0.75:
            return "decompose", caption(spec, rng), " ; ".join(statement(f) for f in facts)
        fact = facts[int(rng.integers(len(facts)))]
        return "question", statement(fact), question(fact)

    def sample(self, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        """Sample one pair of id sequences."""
        task, text, answer = self.texts(rng)
        words = self.vocabulary
        return (
            [words.bos, words.task(task), *words.encode(text)],
            [*words.encode(answer), words.eos],
        )
