"""Text from strangers (names of files, models and servers' words) on one line of a terminal or a table."""

from __future__ import annotations

import unicodedata

MOVING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of what moves a cursor, ends a line, turns the direction of writing, or is no character."""


def printable(text: str) -> str:
    """Return a text on one line, with escapes such as ``\\n`` and ``\\x1b`` for what cannot be shown."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in MOVING else char
        for char in text
    )
