"""Emu3's token format of an image: its size, rows of codes with an end-of-row token each, and the end."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, TypeAlias

from silmm.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from silmm_plugins.models.emu3.tokenizer import Emu3Tokenizer, Emu3Tokens

Codes: TypeAlias = "npt.NDArray[np.int32]"
"""The codes of an image, (rows, columns), each in [0, codebook)."""

PIXELS = 8
"""Side of a code's patch in pixels, in every published Emu3."""


def grid(ratio: str, area: int) -> tuple[int, int]:
    """Return (rows, columns) of codes of an image of about `area` pixels (docs/spec/base-models.md 3.3).

    Args:
        ratio: width to height, for example "16:9".
        area: in pixels; 518400 is 720 x 720.

    Raises:
        UsageError: the ratio cannot be read, or the image would have no codes.
    """
    match = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", ratio)
    if not match:
        raise UsageError(f"model.ratio={ratio!r} is no ratio; write for example 1:1 or 16:9")
    across, down = int(match[1]), int(match[2])
    scale = math.sqrt(area / (across * down)) / PIXELS
    rows, columns = round(down * scale), round(across * scale)
    if min(rows, columns) < 1:
        raise UsageError(
            f"an image of {area} pixels and the ratio {ratio} has no codes; raise model.image_area"
        )
    return rows, columns


def length(rows: int, columns: int) -> int:
    """Return the number of tokens between the size and the end-of-frame token."""
    return rows * (columns + 1)


def opening(tokenizer: Emu3Tokenizer, rows: int, columns: int) -> list[int]:
    """Return the ids of an image's beginning and its size."""
    tokens = tokenizer.tokens
    return [tokens.boi, *tokenizer.encode(f"{rows}*{columns}"), tokens.img]


def body(tokens: Emu3Tokens, codes: Codes) -> list[int]:
    """Return the ids of all rows, each with its end-of-row token."""
    return [token for row in codes.tolist() for token in (*(tokens.visual + code for code in row), tokens.eol)]


def closing(tokens: Emu3Tokens) -> list[int]:
    """Return the ids of an image's end."""
    return [tokens.eof, tokens.eoi]


def code_positions(rows: int, columns: int) -> list[int]:
    """Return the positions of the codes within the rows of :func:`body`, in order."""
    return [row * (columns + 1) + column for row in range(rows) for column in range(columns)]
