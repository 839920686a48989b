"""Which combinations training prompts never hold together, and how to recognise them."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Final

from silmm_benchmarks.shapes.facts import Fact
from silmm_benchmarks.shapes.language import COUNT_WORDS, PLURALS, Mention, Spec

COLOR_SHAPE: Final = frozenset(
    {
        ("red", "cross"),
        ("green", "ring"),
        ("blue", "triangle"),
        ("yellow", "diamond"),
        ("orange", "square"),
        ("purple", "circle"),
        ("pink", "cross"),
        ("cyan", "ring"),
    }
)
TEXTURE_SHAPE: Final = frozenset(
    {("striped", "diamond"), ("dotted", "triangle"), ("striped", "ring"), ("dotted", "square")}
)
SHAPE_SHAPE: Final = frozenset(
    {
        frozenset({"triangle", "ring"}),
        frozenset({"circle", "cross"}),
        frozenset({"square", "diamond"}),
        frozenset({"cross", "ring"}),
    }
)
COUNT_SHAPE: Final = frozenset(
    {(2, "diamond"), (3, "circle"), (3, "square"), (4, "cross"), (4, "triangle")}
)
RELATION_SHAPES: Final = frozenset(
    {
        ("left", "circle", "square"),
        ("left", "ring", "diamond"),
        ("left", "triangle", "cross"),
        ("left", "square", "ring"),
        ("above", "triangle", "square"),
        ("above", "circle", "diamond"),
        ("above", "diamond", "ring"),
        ("above", "cross", "square"),
        ("in front of", "square", "circle"),
        ("in front of", "diamond", "triangle"),
        ("in front of", "ring", "square"),
        ("in front of", "circle", "ring"),
        ("inside", "diamond", "ring"),
        ("inside", "cross", "square"),
        ("touching", "circle", "triangle"),
        ("touching", "cross", "square"),
        ("touching", "diamond", "ring"),
    }
)
"""Written in canonical form: see :func:`canonical_relation`."""

_RELATION_WORDS: Final = {
    "left": {"left", "right"},
    "above": {"above", "below"},
    "in front of": {"front", "behind"},
    "inside": {"inside"},
    "touching": {"touching"},
}
_NAMES: Final[tuple[tuple[set[str], ...], ...]] = (
    *(({word}, {shape}) for word, shape in COLOR_SHAPE | TEXTURE_SHAPE),
    *(tuple({shape} for shape in pair) for pair in SHAPE_SHAPE),
    *(({COUNT_WORDS[n - 1], str(n)}, {shape}) for n, shape in COUNT_SHAPE),
    *((_RELATION_WORDS[name], {first}, {second}) for name, first, second in RELATION_SHAPES),
)
"""What a text must name of each combination: one word of every set."""

_SINGULARS: Final = {plural: shape for shape, plural in PLURALS.items()}
_MIRROR: Final = {"right": "left", "below": "above", "behind": "in front of"}


def canonical_relation(name: str, first: str, second: str) -> tuple[str, str, str]:
    """Return one form for all wordings of the same fact (``right`` is a mirrored ``left``)."""
    if name in _MIRROR:
        return _MIRROR[name], second, first
    if name == "touching":
        return (name, *sorted((first, second)))  # type: ignore[return-value]
    return name, first, second


def meaning(spec: Spec) -> tuple[object, ...]:
    """Return one form for all specs that say the same, whatever the order of their mentions."""
    names = [repr(mention) for mention in spec.mentions]
    relations = (canonical_relation(name, names[i], names[j]) for i, name, j in spec.relations)
    return spec.category, tuple(sorted(names)), tuple(sorted(relations))


def _mention_held_out(mention: Mention) -> bool:
    return (mention.color, mention.shape) in COLOR_SHAPE or (
        mention.texture,
        mention.shape,
    ) in TEXTURE_SHAPE


def is_held_out(spec: Spec) -> bool:
    """Return whether a spec has any combination that training prompts never hold."""
    if any(_mention_held_out(m) for m in spec.mentions):
        return True
    if any((m.count, m.shape) in COUNT_SHAPE for m in spec.mentions):
        return True
    if any(frozenset({a.shape, b.shape}) in SHAPE_SHAPE for a, b in combinations(spec.mentions, 2)):
        return True
    shapes = [m.shape for m in spec.mentions]
    return any(
        canonical_relation(name, shapes[i], shapes[j]) in RELATION_SHAPES
        for i, name, j in spec.relations
    )


def names_held_out(text: str) -> bool:
    """Return whether free text has all the words of a combination that training prompts never hold.

    Which word belongs to which is not decided, because text outside of the grammar has no certain
    reading: "a blue square under a triangle" names the blue triangle. Too many matches are better than too few.
    """
    tokens = re.findall(r"[a-z]+|[0-9]+", text.lower())
    words = {_SINGULARS.get(word, word) for word in tokens}
    return any(all(words & choice for choice in name) for name in _NAMES)


def is_fact_held_out(fact: Fact) -> bool:
    """Return whether a fact has any combination that training prompts never hold."""
    if fact.relation is None or fact.other is None:
        return is_held_out(Spec("", (fact.mention,)))
    return is_held_out(Spec("", (fact.mention, fact.other), ((0, fact.relation, 1),)))
