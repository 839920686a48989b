"""Random seeds from content: what a unit of work is decides its seed, never who does it or when."""

from __future__ import annotations

import hashlib
import json

BITS = 63
"""Seeds fit a non-negative int64: the seed columns of the tables and every generator take them."""


def derive(run_seed: int, *parts: str | int) -> int:
    """Return the seed, in [0, 2^63), of the unit of work that `parts` name under `run_seed`.

    The parts are joined as JSON before hashing, so that no two lists of parts share a text:
    ("a", "b") and ("ab",), or 1 and "1", give different seeds.
    """
    text = json.dumps([run_seed, *parts], ensure_ascii=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode("ascii")).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - BITS)
