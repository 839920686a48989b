"""Sizes of SEED's image networks, as read from their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class VisionSizes:
    """Sizes of the image encoder."""

    width: int
    depth: int
    heads: int
    hidden: int
    patch: int
    grid: int
    """Patches per side."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of the whole tokenizer, read from the shapes of its weights."""

    vision: VisionSizes
    length: int
    width: int
    hidden: int
    heads: int
    layers: Mapping[int, bool]
    """Q-Former layer -> whether it has cross-attention to the image."""
    codes: int
    code: int
    blocks: int
    block_hidden: int
    down: tuple[int, ...]
    embedding: int
