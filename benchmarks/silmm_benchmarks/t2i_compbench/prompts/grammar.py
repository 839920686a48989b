"""What the rules need of a prompt's grammar: words with four coarse tags, and noun chunks, as spans."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NOUN, PROPER, ADJECTIVE, OTHER = "N", "P", "A", ""
LETTER_OF_TAG = {"NOUN": NOUN, "PROPN": PROPER, "ADJ": ADJECTIVE}
"""Universal coarse tags, as spaCy gives them, to the letters kept; all other tags are alike to the rules."""
_TOKEN = re.compile(r"(\d+)-(\d+)([NPA]?)")
_SPAN = re.compile(r"(\d+)-(\d+)")


@dataclass(frozen=True)
class Token:
    """A word or sign of a prompt."""

    start: int
    end: int
    tag: str
    """One of NOUN, PROPER, ADJECTIVE, OTHER."""


@dataclass(frozen=True)
class Parse:
    """A prompt with its grammar."""

    prompt: str
    tokens: tuple[Token, ...]
    chunks: tuple[tuple[int, int], ...]
    """Start and end of the noun chunks, in order."""

    def words(self) -> list[str]:
        """Return the text of each token."""
        return [self.prompt[token.start : token.end] for token in self.tokens]

    def phrases(self) -> list[str]:
        """Return the text of each noun chunk."""
        return [self.prompt[start:end] for start, end in self.chunks]

    def text(self, first: int, count: int) -> str:
        """Return the text of `count` tokens from `first` on (fewer at the end), with what is between them."""
        part = self.tokens[first : first + count]
        return self.prompt[part[0].start : part[-1].end] if part else ""


def encode(parse: Parse) -> tuple[str, str]:
    """Return tokens ("0-3A 4-8N") and noun chunks ("0-8") as the table keeps them, without any text."""
    tokens = " ".join(f"{token.start}-{token.end}{token.tag}" for token in parse.tokens)
    return tokens, " ".join(f"{start}-{end}" for start, end in parse.chunks)


def decode(prompt: str, tokens: str, chunks: str) -> Parse:
    """Return the parse that :func:`encode` wrote.

    Raises:
        ValueError: a span is malformed, empty, out of order or leads out of the prompt.
    """
    spans = tuple(Token(int(start), int(end), tag) for start, end, tag in _fields(_TOKEN, tokens))
    pieces = tuple((int(start), int(end)) for start, end in _fields(_SPAN, chunks))
    for ordered in ([(token.start, token.end) for token in spans], pieces):
        _check(prompt, ordered)
    return Parse(prompt, spans, pieces)


def _fields(pattern: re.Pattern[str], text: str) -> Iterator[tuple[str, ...]]:
    for word in text.split():
        match = pattern.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} is no span")
        yield match.groups()


def _check(prompt: str, spans: Sequence[tuple[int, int]]) -> None:
    before = 0
    for start, end in spans:
        if not before <= start < end <= len(prompt):
            raise ValueError(f"the span {start}-{end} does not fit a prompt of {len(prompt)} characters")
        before = end


def without_adjectives(parse: Parse) -> str:
    """Return the prompt's tokens but its adjectives, joined by single spaces (so also before a period)."""
    words = zip(parse.words(), parse.tokens, strict=True)
    return " ".join(word for word, token in words if token.tag != ADJECTIVE)
