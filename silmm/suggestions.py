"""What to offer when a name is not known: the nearest known ones and the whole list."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known name, else a full stop."""
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else "."


def listed(names: Iterable[str]) -> str:
    """Return the sorted names as ``a, b, c``, or ``none``."""
    return ", ".join(sorted(set(names))) or "none"
