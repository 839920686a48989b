"""The captions of the world: the eight categories of T2I-CompBench++ and their grammar.

``caption`` writes a spec and ``parse_caption`` reads it back; text that ``caption`` could not
have written is refused, so that a prompt a model wrote itself can be checked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from silmm_benchmarks.shapes.world import COLORS, SHAPES, TEXTURES

CATEGORIES: Final = (
    "color",
    "shape",
    "texture",
    "spatial",
    "3d_spatial",
    "numeracy",
    "non_spatial",
    "complex",
)
COUNT_WORDS: Final = ("one", "two", "three", "four")
PLURALS: Final = {s: s + ("es" if s.endswith("s") else "s") for s in SHAPES}
PHRASES: Final = {
    "left": "on the left of",
    "right": "on the right of",
    "above": "above",
    "below": "below",
    "in front of": "in front of",
    "behind": "behind",
    "inside": "inside",
    "touching": "touching",
}
_SINGULARS: Final = {plural: shape for shape, plural in PLURALS.items()}
_PHRASE_WORDS: Final = {name: phrase.split() for name, phrase in PHRASES.items()}
_RELATION_CATEGORY: Final = {
    "left": "spatial",
    "right": "spatial",
    "above": "spatial",
    "below": "spatial",
    "in front of": "3d_spatial",
    "behind": "3d_spatial",
    "inside": "non_spatial",
    "touching": "non_spatial",
}
_TEMPLATES: Final = {"spatial": 2, "3d_spatial": 2, "non_spatial": 2, "complex": 3}
_FUNCTION_WORDS: Final = (
    *("a", "an", "the", "and", "is", "are", "there", "on", "left", "right", "of", "above"),
    *("below", "in", "front", "behind", "inside", "touching", "yes", "no", ",", ".", "?"),
)
VOCABULARY: Final[tuple[str, ...]] = (
    *_FUNCTION_WORDS,
    *SHAPES,
    *PLURALS.values(),
    *COLORS,
    *TEXTURES,
    *COUNT_WORDS,
)
"""Every token of captions, statements, questions and answers."""

_TOKEN: Final = re.compile(r"[,.?]|[^\s,.?]+")


@dataclass(frozen=True)
class Mention:
    """What a text says of one kind of object; ``None`` leaves an attribute open."""

    shape: str
    color: str | None = None
    texture: str | None = None
    count: int = 1


@dataclass(frozen=True)
class Spec:
    """The meaning of a caption: mentions, and relations as ``(index, name, index)``."""

    category: str
    mentions: tuple[Mention, ...]
    relations: tuple[tuple[int, str, int], ...] = ()


def tokenize(text: str) -> list[str]:
    """Split text into words; each of ``, . ?`` is a token of its own."""
    return _TOKEN.findall(text)


def detokenize(tokens: list[str]) -> str:
    """Join tokens as they are written: no space before punctuation."""
    return re.sub(r" ([,.?])", r"\1", " ".join(tokens))


def template_count(category: str) -> int:
    """Return in how many ways a caption of the category can be worded."""
    return _TEMPLATES.get(category, 1)


def noun(mention: Mention, texture_first: bool = False, plural: bool = False) -> str:
    """Return attributes and noun without an article, as in ``red striped circle``."""
    adjectives = [mention.color, mention.texture]
    if texture_first:
        adjectives.reverse()
    name = PLURALS[mention.shape] if plural else mention.shape
    return " ".join([*(a for a in adjectives if a), name])


def indefinite(mention: Mention, texture_first: bool = False) -> str:
    """Return the noun phrase with ``a`` or ``an``."""
    words = noun(mention, texture_first)
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def counted(mention: Mention) -> str:
    """Return the noun phrase with its number, as in ``three red circles``."""
    return f"{COUNT_WORDS[mention.count - 1]} {noun(mention, plural=mention.count > 1)}"


def _enumerate(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]


def caption(spec: Spec, template: int | np.random.Generator = 0) -> str:
    """Write the spec as text.

    Args:
        spec: what to say; the first relation, if any, must join mentions 0 and 1.
        template: which wording (taken modulo their number), or a generator that samples one.
    """
    ways = template_count(spec.category)
    index = template % ways if isinstance(template, int) else int(template.random() * ways)
    if spec.category == "numeracy":
        return _enumerate([counted(m) for m in spec.mentions])
    if not spec.relations:
        return _enumerate([indefinite(m, index == 1) for m in spec.mentions])
    first, second, *rest = spec.mentions
    phrase = PHRASES[spec.relations[0][1]]
    if spec.category != "complex":
        verb = "is " if index == 1 else ""
        return f"{indefinite(first)} {verb}{phrase} {indefinite(second)}"
    if index < 2:
        pair = f"{indefinite(first, index == 1)} {phrase} {indefinite(second, index == 1)}"
        return " and ".join([pair, *(indefinite(m, index == 1) for m in rest)])
    tail = "".join(f", and there is {indefinite(m)}" for m in rest)
    return f"the {noun(first, True)} is {phrase} the {noun(second, True)}{tail}."


class Reader:
    """A cursor over tokens that takes what it is asked for or raises ``ValueError``."""

    def __init__(self, text: str) -> None:
        """Start before the first token."""
        self.tokens = tokenize(text)
        self.at = 0

    def take(self, *words: str) -> bool:
        """Take the words when they come next."""
        if self.tokens[self.at : self.at + len(words)] != list(words):
            return False
        self.at += len(words)
        return True

    def one_of(self, words: tuple[str, ...]) -> str | None:
        """Take the next token when it is one of the words."""
        if self.at < len(self.tokens) and self.tokens[self.at] in words:
            self.at += 1
            return self.tokens[self.at - 1]
        return None

    def done(self) -> bool:
        """Return whether all tokens are taken."""
        return self.at == len(self.tokens)

    def mention(self, count: int = 1) -> Mention:
        """Take attributes (in either order) and a noun, singular or plural as count asks."""
        color = self.one_of(COLORS)
        texture = self.one_of(TEXTURES)
        color = color or self.one_of(COLORS)
        word = self.one_of(SHAPES if count == 1 else tuple(PLURALS.values()))
        if word is None:
            raise ValueError(f"expected a shape at word {self.at} of {' '.join(self.tokens)!r}")
        return Mention(_SINGULARS.get(word, word), color, texture, count)

    def indefinite(self) -> Mention:
        """Take ``a`` or ``an`` and a mention; which of the two is checked by writing it again."""
        if self.one_of(("a", "an")) is None:
            raise ValueError(f"expected an article at word {self.at} of {' '.join(self.tokens)!r}")
        return self.mention()

    def relation(self) -> str | None:
        """Take the words of a relation when they come next and return its name."""
        return next((n for n, words in _PHRASE_WORDS.items() if self.take(*words)), None)


def infer_category(spec: Spec, counted_nouns: bool) -> str:
    """Return the category a caption with this content belongs to."""
    colored = any(m.color for m in spec.mentions)
    textured = any(m.texture for m in spec.mentions)
    if counted_nouns:
        return "numeracy"
    if spec.relations:
        plain_pair = len(spec.mentions) == 2 and not textured
        return _RELATION_CATEGORY[spec.relations[0][1]] if plain_pair else "complex"
    if colored and textured:
        return "complex"
    return "color" if colored else "texture" if textured else "shape"


def _read_mentions(reader: Reader) -> tuple[list[Mention], list[tuple[int, str, int]], bool]:
    if reader.take("the"):
        first = reader.mention()
        reader.take("is")
        name = reader.relation()
        if name is None or not reader.take("the"):
            raise ValueError("expected a relation to another object")
        mentions = [first, reader.mention()]
        while reader.take(",", "and", "there", "is"):
            mentions.append(reader.indefinite())
        reader.take(".")
        return mentions, [(0, name, 1)], False
    number = reader.one_of(COUNT_WORDS)
    if number is not None:
        mentions = [reader.mention(COUNT_WORDS.index(number) + 1)]
        while reader.take(",") or reader.take("and"):
            number = reader.one_of(COUNT_WORDS)
            if number is None:
                raise ValueError("expected a number")
            mentions.append(reader.mention(COUNT_WORDS.index(number) + 1))
        return mentions, [], True
    mentions = [reader.indefinite()]
    reader.take("is")
    name = reader.relation()
    relations = []
    if name is not None:
        mentions.append(reader.indefinite())
        relations.append((0, name, 1))
    while reader.take(",") or reader.take("and"):
        mentions.append(reader.indefinite())
    return mentions, relations, False


def parse_caption(text: str) -> Spec:
    """Read a caption back, the strict inverse of :func:`caption`.

    Raises:
        ValueError: when no spec has this text as one of its captions.
    """
    reader = Reader(text)
    mentions, relations, counted_nouns = _read_mentions(reader)
    if not reader.done():
        raise ValueError(f"unexpected word {reader.tokens[reader.at]!r} in {text!r}")
    spec = Spec("", tuple(mentions), tuple(relations))
    spec = Spec(infer_category(spec, counted_nouns), spec.mentions, spec.relations)
    # Writing it again is the check that wording, articles and punctuation are all in order.
    if all(caption(spec, t) != text for t in range(template_count(spec.category))):
        raise ValueError(f"not a caption of this world: {text!r}")
    return spec
