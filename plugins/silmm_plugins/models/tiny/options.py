"""Options of the two embedded models, and the hashes of their shipped weights; imports nothing heavy."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from silmm.contracts.options import Options, option


class TinyOptions(Options):
    """Options of `tiny-discrete` and `tiny-continuous`."""

    device: str = option("cpu", "device of the weights: cpu, cuda, cuda:1, …; auto: a GPU if there is one")


def revision(folder: Path) -> str:
    """Return the hash of the weights' hashes, or nothing where they are not installed."""
    card = folder / "sha256.json"
    return hashlib.sha256(card.read_bytes()).hexdigest() if card.is_file() else ""


def verify(folder: Path) -> str:
    """Compare the shipped weights with the hashes in their card.

    Raises:
        ValueError: a file differs from the one that was released.
    """
    expected = json.loads((folder / "sha256.json").read_text())
    for name, digest in expected.items():
        actual = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if actual != digest:
            raise ValueError(f"{folder / name} is damaged: sha256 {actual}, expected {digest}")
    return f"{len(expected)} weight files verified"
