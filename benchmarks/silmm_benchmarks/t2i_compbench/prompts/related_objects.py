"""Which two things a prompt relates, and how: the words for the 2D and 3D rules (docs/spec/benchmarks.md 1.7, 1.8)."""

from __future__ import annotations

from collections.abc import Sequence

from silmm_benchmarks.t2i_compbench.prompts.grammar import NOUN, PROPER, Parse

Pair = tuple[str | None, str | None]

RELATIONS_2D = (
    *("on side of", "next to", "near", "on the left of", "on the right of"),
    *("on the bottom of", "on the top of", "on top of"),
)
RELATIONS_3D = ("in front of", "behind", "hidden")
PERSONS = frozenset({"girl", "boy", "man", "woman"})
"""The only words that the scripts read as the label "person"; plurals are not among them."""
_RELATION_TOKENS = frozenset(
    {"on top of", "on bottom of", "on the left", "on the right", "next to", "on side of", "near"}
)


def relation(prompt: str, relations: Sequence[str]) -> str | None:
    """Return the first of `relations` that is part of the prompt."""
    return next((words for words in relations if words in prompt), None)


def person(word: str) -> str:
    """Return the label that the scripts search for in place of a word."""
    return "person" if word in PERSONS else word


def simple_pair(parse: Parse) -> Pair:
    """Return the first and the last noun of a prompt (2D simple mode, and 3D).

    Raises:
        ValueError: the prompt has no noun; the official scripts stop there.
    """
    nouns = [word for word, token in zip(parse.words(), parse.tokens, strict=True) if token.tag == NOUN]
    if not nouns:
        raise ValueError("the prompt has no noun that the spatial rule could search for")
    return person(nouns[0]), person(nouns[-1])


def complex_pair(parse: Parse) -> Pair:
    """Return the objects beside the relation words, none unless there are two in all (1.7, complex mode)."""
    words, tags = parse.words(), [token.tag for token in parse.tokens]
    nouns: list[str] = []
    for position in range(len(words)):
        length = next((n for n in (3, 2, 1) if parse.text(position, n) in _RELATION_TOKENS), None)
        if length is None:
            continue
        before = [i for i in range(position) if tags[i] in (NOUN, PROPER)]
        nouns += [words[i] for i in before[-1:]]
        nouns += [words[i] for i in _after(tags, position + length)]
    if len(nouns) != 2:
        return None, None
    return person(nouns[0]), person(nouns[1])


def _after(tags: Sequence[str], start: int) -> list[int]:
    """Return the index of the first noun from `start`, else the end of the first run of proper names."""
    nouns = [i for i in range(start, len(tags)) if tags[i] == NOUN]
    names = [i for i in range(start, len(tags) - 1) if tags[i] == PROPER and tags[i + 1] != PROPER]
    return (nouns or names)[:1]
