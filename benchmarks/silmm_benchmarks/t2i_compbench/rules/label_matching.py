"""How a word is found among a detector's labels when mode `fixed` reads them (docs/spec/benchmarks.md 9b).

The official rules compare whole labels (2D), or search the word inside them (3D, numeracy): "cow" misses
"cattle, cow", and "car" finds "carrot". Here a label is a list of names, and a few words have synonyms.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SYNONYMS = {
    "bag": ("handbag", "plastic bag", "luggage and bags"),
    "computer": ("laptop", "tablet computer", "computer monitor", "computer box"),
    "painting": ("picture",),
    "phone": ("mobile phone", "cell phone", "telephone", "corded phone"),
    "sofa": ("couch", "studio couch"),
    "table": ("dining table", "coffee table", "kitchen & dining room table"),
    "turtle": ("sea turtle",),
}
"""Label names that stand for a word of the prompts which is itself no label name."""
_NAMES = re.compile(r"[,/]")


def names(label: str) -> frozenset[str]:
    """Return the names that a label lists: "mouse2, mouse" and "mouse1" both are just "mouse"."""
    return frozenset(name.strip().rstrip("0123456789") for name in _NAMES.split(label))


def called(label: str, word: str) -> bool:
    """Return whether a label names the word or one of its synonyms."""
    return not names(label).isdisjoint((word, *SYNONYMS.get(word, ())))


def first_called(labels: Sequence[str], word: str | None) -> int | None:
    """Return the index of the first label (the highest score) that names the word."""
    if word is None:
        return None
    return next((index for index, label in enumerate(labels) if called(label, word)), None)
