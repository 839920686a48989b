"""The score of a complex image from up to three others (docs/spec/benchmarks.md 1.10)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

PARTS = {
    "spatial": ("attribute", "spatial"),
    "action": ("attribute", "clip"),
    "both": ("attribute", "spatial", "clip"),
}
"""What is averaged for each group of complex prompts."""


def list_key(prompt: str) -> str:
    """Return the text by which prompts are found in the lists: lower case, up to the first period."""
    return prompt.lower().split(".")[0]


def group_of(prompt: str, spatial: Collection[str], action: Collection[str]) -> str:
    """Return the group of a complex prompt; the lists hold keys as :func:`list_key` makes them."""
    key = list_key(prompt)
    return "spatial" if key in spatial else "action" if key in action else "both"


def three_in_one(scores: Mapping[str, float], group: str) -> float:
    """Return the mean of the parts that count for the group.

    Raises:
        KeyError: a part is missing.
    """
    parts = PARTS[group]
    return sum(scores[part] for part in parts) / len(parts)
