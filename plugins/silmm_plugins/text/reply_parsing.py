"""Parses a model's replies: lists, statements, questions and whole prompts from free text."""

from __future__ import annotations

import re
from itertools import pairwise

_BULLET = re.compile(r"^\s*(?:[-*•]|\(?\d+[.):])\s*")
_SPACE = re.compile(r"\s+")
_ITEM = re.compile(r"[a-z0-9][a-z0-9' -]*")
_TEXT = re.compile(r"[^\W_][\w\s,.;:'’\"()&/-]*[\w.\"')]")
_ARTICLES = ("a ", "an ", "the ")
_OPENINGS = frozenset(
    (
        *("is", "are", "was", "were", "does", "do", "did", "has", "have", "can", "could"),
        *("will", "would", "should", "in", "on"),
    )
)
_STOP = frozenset(
    (
        *("a", "an", "the", "is", "are", "was", "were", "there", "of", "in", "on", "at"),
        *("to", "and", "or", "with", "it", "its", "has", "have", "this", "that"),
    )
)


def items(answer: str, max_words: int) -> list[str]:
    """Return the entries of a list answer: commas, semicolons or lines between them, lower case.

    Bullets, numbering, articles and final periods are removed; entries that are not words or are longer than
    `max_words` are dropped; each entry comes once.
    """
    entries: dict[str, None] = {}
    for part in re.split(r"[,;\n]", answer):
        text = tidy(_BULLET.sub("", part)).rstrip(".").strip().lower()
        for article in _ARTICLES:
            text = text.removeprefix(article)
        if _ITEM.fullmatch(text) and len(text.split()) <= max_words:
            entries[text] = None
    return list(entries)


def tidy(text: str) -> str:
    """Return the text with single spaces, none before punctuation and no quotes around it."""
    text = _SPACE.sub(" ", text).strip()
    text = re.sub(r" ([,.;:?!])", r"\1", text)
    return text.strip("\"'` ").strip()


def prompt(answer: str, max_words: int) -> str | None:
    """Return a model's prompt, or None when it is malformed.

    A prompt is one line of 2 to `max_words` words without a word twice in a row, a question mark, or characters of
    templates and special tokens.
    """
    lines = [line for line in answer.splitlines() if line.strip()]
    if len(lines) != 1:
        return None
    text = tidy(_BULLET.sub("", lines[0]))
    words = text.lower().split()
    if not 2 <= len(words) <= max_words or not _TEXT.fullmatch(text):
        return None
    return None if any(a == b for a, b in pairwise(words)) else text


def statements(answer: str) -> list[str]:
    """Return the statements of a decomposition (";" or lines between them), each once and tidied."""
    entries: dict[str, None] = {}
    for part in re.split(r"[;\n]", answer):
        text = tidy(_BULLET.sub("", part)).rstrip(".").strip()
        if text:
            entries[text] = None
    return list(entries)


def about(statement: str, prompt_text: str) -> bool:
    """Say whether a statement shares a content word with the prompt."""
    return bool(_content(statement) & _content(prompt_text))


def question(answer: str) -> str | None:
    """Return a yes/no question with its "?", or None where the answer is not a question."""
    lines = [line for line in answer.splitlines() if line.strip()]
    if not lines:
        return None
    text = tidy(_BULLET.sub("", lines[0])).rstrip(".?! ").strip()
    words = text.lower().split()
    if len(words) < 3 or words[0] not in _OPENINGS:
        return None
    return f"{text}?"


def _content(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.lower()) if word not in _STOP}
