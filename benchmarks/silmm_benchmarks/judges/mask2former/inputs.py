"""What the network sees of an image: OpenCV's reading and 8-bit resizing, padding with grey, normalisation.

To the bit what mmdet's test pipeline does (docs/spec/geneval.md 2.6 and 4.2), without OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from silmm.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

LONG_SIDE, SHORT_SIDE = 1333, 800
"""The largest size of both sides that keeps the aspect; smaller images are enlarged."""
DIVISOR = 32
GREY = 128
"""Padding, in 8 bits and before the normalisation."""
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_ONE = 2048
"""One in OpenCV's fixed-point weights of 11 bits."""


@dataclass(frozen=True)
class DetectorInput:
    """An image as the network's input, and the sizes that lead its masks back; all sizes are (height, width)."""

    padded: NDArray[np.uint8]
    """RGB, shape (height, width, 3), sides multiples of 32."""
    resized: tuple[int, int]
    original: tuple[int, int]

    def pixels(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the normalised pixels, float32 of shape (1, 3, height, width)."""
        values = torch.from_numpy(self.padded).to(device).permute(2, 0, 1)[None].float()
        mean, scale = (torch.tensor(three, device=device).view(1, 3, 1, 1) for three in (MEAN, _reciprocal(STD)))
        return (values - mean) * scale


def prepared(image: Image, *, long_side: int = LONG_SIDE, short_side: int = SHORT_SIDE) -> DetectorInput:
    """Return an image, of any mode and orientation, as the network's input.

    Raises:
        DataError: the image is so narrow that nothing would be left of its shorter side.
    """
    pixels = as_opencv_reads(image)
    height, width = pixels.shape[:2]
    scale = min(long_side / max(height, width), short_side / min(height, width))
    size = (int(height * scale + 0.5), int(width * scale + 0.5))
    if min(size) < 1:
        raise DataError(
            f"an image of {width}x{height} is too narrow for Mask2Former: with a longer side of {long_side} nothing "
            "is left of the other. Crop it or leave it out."
        )
    resized = resize(pixels, *size)
    below, right = (-side % DIVISOR for side in size)
    padded = np.pad(resized, ((0, below), (0, right), (0, 0)), constant_values=GREY)
    return DetectorInput(padded, size, (height, width))


def as_opencv_reads(image: Image) -> NDArray[np.uint8]:
    """Return RGB, shape (height, width, 3): orientation applied, 16 bits cut to 8, grey replicated, alpha dropped."""
    from PIL import ImageOps

    turned = ImageOps.exif_transpose(image)
    if turned.mode.startswith("I"):
        high = (np.asarray(turned).astype(np.uint32) >> 8).astype(np.uint8)
        return np.repeat(high[..., None], 3, axis=2)
    return np.asarray(turned.convert("RGB"), dtype=np.uint8)


def resize(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return what OpenCV's bilinear resize returns for 8-bit pixels (height, width, channels), to the bit.

    Weights are fixed-point numbers of 11 bits, and there is no antialiasing, also when an image shrinks.
    """
    rows, columns = pixels.shape[:2]
    left, w0, w1 = _taps(columns, width, clamped=True)
    wide = pixels[:, left] * w0[:, None] + pixels[:, np.minimum(left + 1, columns - 1)] * w1[:, None]
    wide >>= 4
    upper, w0, w1 = _taps(rows, height, clamped=False)
    values = (wide[np.clip(upper, 0, rows - 1)] * w0[:, None, None]) >> 16
    values += (wide[np.clip(upper + 1, 0, rows - 1)] * w1[:, None, None]) >> 16
    resized: NDArray[np.uint8] = np.clip((values + 2) >> 2, 0, 255).astype(np.uint8)
    return resized


def _taps(old: int, new: int, *, clamped: bool) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Return the first source index of each output and the weights of it and of the next.

    Only columns are clamped with their weights; of rows OpenCV clamps the two indices afterwards.
    """
    step = 1 / (new / old)
    position = ((np.arange(new) + 0.5) * step - 0.5).astype(np.float32)
    index = np.floor(position).astype(np.int64)
    fraction = position - index.astype(np.float32)
    if clamped:
        outside = (index < 0) | (index >= old - 1)
        fraction[outside] = 0
        index = np.clip(index, 0, old - 1)
    first, second = (np.rint(_ONE * part).astype(np.int32) for part in (np.float32(1) - fraction, fraction))
    return index, first, second


def _reciprocal(values: tuple[float, ...]) -> list[float]:
    return [1 / value for value in values]
