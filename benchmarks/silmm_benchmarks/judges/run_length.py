"""Masks as text: COCO's compressed run-length encoding, the `counts` of pycocotools."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from silmm.errors import DataError

_FIRST = 48
"""The character of the value 0."""
_BITS = 5
_MORE = 1 << _BITS


def encode_mask(mask: NDArray[np.bool_]) -> str:
    """Return a mask (height, width) as text: lengths of runs down the columns, of background first.

    From the fourth length on, the difference to the one two before is written, in groups of five bits.
    """
    flat = np.concatenate(([False], mask.flatten(order="F"), [not mask[-1, -1]])) if mask.size else np.zeros(1, bool)
    starts = np.flatnonzero(flat[1:] != flat[:-1])
    lengths = np.diff(starts, prepend=0).tolist()
    text: list[str] = []
    for number, length in enumerate(lengths):
        value, more = length - lengths[number - 2] if number > 2 else length, True
        while more:
            group = value & (_MORE - 1)
            value >>= _BITS
            more = value != (-1 if group & (_MORE >> 1) else 0)
            text.append(chr(_FIRST + group + (_MORE if more else 0)))
    return "".join(text)


def decode_mask(text: str, height: int, width: int) -> NDArray[np.bool_]:
    """Return the mask (height, width) of a text of :func:`encode_mask`.

    Raises:
        DataError: the text is no such encoding, or of a mask of another size.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - _FIRST
        if not 0 <= group < 2 * _MORE:
            raise _malformed(height, width)
        value |= (group & (_MORE - 1)) << shift
        shift += _BITS
        if not group & _MORE:
            value -= (1 << shift) if group & (_MORE >> 1) else 0
            lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
            value = shift = 0
    if shift or sum(lengths) != height * width or min(lengths, default=0) < 0:
        raise _malformed(height, width)
    runs = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return runs.reshape(width, height).T


def _malformed(height: int, width: int) -> DataError:
    return DataError(f"a mask is no run-length encoding of {height} x {width} pixels; ask the detector again.")
