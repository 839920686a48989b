"""The atomic facts of a caption: as statements, as yes/no questions, and whether a scene has them.

The decomposition is the paper's: one fact for each concept with its attributes (or its number),
one for each relation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from silmm_benchmarks.shapes.language import (
    COUNT_WORDS,
    PHRASES,
    Mention,
    Reader,
    Spec,
    counted,
    indefinite,
    noun,
)
from silmm_benchmarks.shapes.world import Object, Scene, relates


@dataclass(frozen=True)
class Fact:
    """One checkable claim: an object exists, a number is exact, or a relation holds."""

    kind: Literal["existence", "count", "relation"]
    mention: Mention
    relation: str | None = None
    other: Mention | None = None


def atomic_facts(spec: Spec) -> tuple[Fact, ...]:
    """Split a spec into its facts: mentions in order, then relations."""
    kind: Literal["existence", "count"] = "count" if spec.category == "numeracy" else "existence"
    concepts = tuple(Fact(kind, m) for m in spec.mentions)
    relations = tuple(
        Fact("relation", spec.mentions[i], name, spec.mentions[j]) for i, name, j in spec.relations
    )
    return concepts + relations


def _related(fact: Fact) -> tuple[str, Mention]:
    if fact.relation is None or fact.other is None:
        raise ValueError(f"a relation fact needs a relation and a second mention: {fact}")
    return fact.relation, fact.other


def statement(fact: Fact) -> str:
    """Write a fact as a claim."""
    if fact.kind == "existence":
        return indefinite(fact.mention)
    if fact.kind == "count":
        return counted(fact.mention)
    name, other = _related(fact)
    return f"the {noun(fact.mention)} is {PHRASES[name]} the {noun(other)}"


def question(fact: Fact) -> str:
    """Write a fact as a question to be answered by yes or no."""
    if fact.kind == "existence":
        return f"is there {indefinite(fact.mention)}?"
    if fact.kind == "count":
        return f"{'is' if fact.mention.count == 1 else 'are'} there {counted(fact.mention)}?"
    name, other = _related(fact)
    return f"is the {noun(fact.mention)} {PHRASES[name]} the {noun(other)}?"


def parse_question(text: str) -> Fact:
    """Read a question back, the strict inverse of :func:`question`.

    Raises:
        ValueError: when no fact has this question.
    """
    reader = Reader(text)
    if reader.take("is", "the"):
        first = reader.mention()
        name = reader.relation()
        if name is None or not reader.take("the"):
            raise ValueError(f"expected a relation to another object in {text!r}")
        fact = Fact("relation", first, name, reader.mention())
    elif reader.take("is", "there") or reader.take("are", "there"):
        number = reader.one_of(COUNT_WORDS)
        if number is None:
            fact = Fact("existence", reader.indefinite())
        else:
            fact = Fact("count", reader.mention(COUNT_WORDS.index(number) + 1))
    else:
        raise ValueError(f"not a question of this world: {text!r}")
    if question(fact) != text:
        raise ValueError(f"not a question of this world: {text!r}")
    return fact


def matches(item: Object, mention: Mention) -> bool:
    """Return whether an object has the shape and all attributes a mention gives."""
    return (
        item.shape == mention.shape
        and mention.color in (None, item.color)
        and mention.texture in (None, item.texture)
    )


def matching(scene: Scene, mention: Mention) -> list[int]:
    """Return the indices of the objects a mention fits."""
    return [i for i, item in enumerate(scene.objects) if matches(item, mention)]


def holds(scene: Scene, fact: Fact) -> bool:
    """Return whether a fact is true; a relation needs one pair of distinct fitting objects."""
    first = matching(scene, fact.mention)
    if fact.kind == "existence":
        return bool(first)
    if fact.kind == "count":
        return len(first) == fact.mention.count
    name, other = _related(fact)
    second = matching(scene, other)
    return any(relates(scene, i, name, j) for i in first for j in second if i != j)
