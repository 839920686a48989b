"""The text that CLIP compares with an image of category complex (docs/spec/benchmarks.md 1.5)."""

from __future__ import annotations

from silmm_benchmarks.t2i_compbench.parse import ADJECTIVE, Parse


def without_adjectives(parse: Parse) -> str:
    """Return the prompt's tokens but its adjectives, joined by single spaces (so also before a period)."""
    words = zip(parse.words(), parse.tokens, strict=True)
    return " ".join(word for word, token in words if token.tag != ADJECTIVE)
