"""The paper's templates of attribute and layout prompts (App. 6), filled with the model's lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from silmm_plugins.text.english import article, counted

_FLAT = frozenset(
    (
        *("left", "right", "above", "below", "top", "bottom", "side", "next", "near", "beside"),
        *("under", "over", "underneath", "beneath"),
    )
)
_DEEP = frozenset({"front", "behind", "hidden"})


@dataclass(frozen=True)
class Concepts:
    """The model's lists, each perhaps empty."""

    nouns: Sequence[str] = ()
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """"color", "shape", "texture" -> adjectives."""
    bare: frozenset[str] = frozenset()
    """Attributes that the nouns themselves carry (in a world where the objects are shapes)."""
    spatial: Sequence[str] = ()
    depth: Sequence[str] = ()
    numbers: Sequence[str] = ()


Writer = Callable[[Random], str]
"""Composes one prompt."""


def relation_kind(relation: str) -> str | None:
    """Return "spatial" (2D), "3d_spatial", or None for a relation that is neither."""
    words = set(relation.split())
    if words & _DEEP:
        return "3d_spatial"
    return "spatial" if words & _FLAT else None


def writers(concepts: Concepts) -> dict[str, dict[str, Writer]]:
    """Return the composers for which there are concepts: category -> sub-category -> composer."""
    attribute: dict[str, Writer] = {}
    for name, adjectives in concepts.attributes.items():
        if name in concepts.bare and len(concepts.nouns) > 1:
            attribute[name] = _bare(concepts.nouns)
        elif adjectives and concepts.nouns:
            attribute[name] = _attribute(concepts.nouns, adjectives)
    layout: dict[str, Writer] = {}
    if len(concepts.nouns) > 1:
        for name, relations in (("spatial", concepts.spatial), ("3d_spatial", concepts.depth)):
            if relations:
                layout[name] = _relation(concepts.nouns, relations)
    if concepts.nouns and concepts.numbers:
        layout["numeracy"] = _numeracy(concepts.nouns, concepts.numbers)
    return {"attribute": attribute, "layout": layout}


def _attribute(nouns: Sequence[str], adjectives: Sequence[str]) -> Writer:
    """Compose "a {adj} {noun}" or "a {adj1} {noun1} and a {adj2} {noun2}"."""

    def write(rng: Random) -> str:
        if rng.random() < 0.5 or len(nouns) < 2 or len(adjectives) < 2:
            return article(f"{rng.choice(adjectives)} {rng.choice(nouns)}")
        first, second = (
            f"{adjective} {noun}"
            for adjective, noun in zip(rng.sample(adjectives, 2), rng.sample(nouns, 2), strict=True)
        )
        return f"{article(first)} and {article(second)}"

    return write


def _bare(nouns: Sequence[str]) -> Writer:
    """Compose "a {noun1} and a {noun2}", for nouns that carry the attribute themselves."""

    def write(rng: Random) -> str:
        first, second = rng.sample(nouns, 2)
        return f"{article(first)} and {article(second)}"

    return write


def _relation(nouns: Sequence[str], relations: Sequence[str]) -> Writer:
    """Compose "a {noun1} {relation} a {noun2}"."""

    def write(rng: Random) -> str:
        first, second = rng.sample(nouns, 2)
        return f"{article(first)} {rng.choice(relations)} {article(second)}"

    return write


def _numeracy(nouns: Sequence[str], numbers: Sequence[str]) -> Writer:
    """Compose "{quantity} {object}" or "{quantity} {object} and {quantity} {object}"."""

    def write(rng: Random) -> str:
        if rng.random() < 0.5 or len(nouns) < 2:
            return counted(rng.choice(numbers), rng.choice(nouns))
        first, second = rng.sample(nouns, 2)
        return f"{counted(rng.choice(numbers), first)} and {counted(rng.choice(numbers), second)}"

    return write
