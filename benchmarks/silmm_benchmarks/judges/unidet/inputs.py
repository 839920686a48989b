"""The input of the networks: size and order of the colours of an image (docs/spec/benchmarks.md 1.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from silmm.errors import DataError
from silmm_benchmarks.judges.unidet.architecture import Colours

if TYPE_CHECKING:
    from PIL.Image import Image

SHORT_SIDE = 479
LONG_SIDE = 480
"""The longer side becomes no longer than this, even if the shorter one stays below 479."""


def frame_size(width: int, height: int) -> tuple[int, int]:
    """Return the width and height to which an image is resized.

    Raises:
        DataError: the image is so narrow that nothing would be left of its shorter side.
    """
    short, long = sorted((width, height))
    new_short, new_long = SHORT_SIDE, SHORT_SIDE * long // short
    if new_long > LONG_SIDE:
        new_short, new_long = LONG_SIDE * new_short // new_long, LONG_SIDE
    if not new_short:
        raise DataError(
            f"an image of {width}x{height} is too narrow for UniDet: with a longer side of {LONG_SIDE} "
            "nothing is left of the other. Crop it or leave it out."
        )
    return (new_short, new_long) if width <= height else (new_long, new_short)


def resized(image: Image) -> Image:
    """Return the image in RGB at :func:`frame_size`, bilinear as Pillow does it."""
    from PIL.Image import Resampling

    size = frame_size(*image.size)
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    return rgb if rgb.size == size else rgb.resize(size, Resampling.BILINEAR)


def pixels(image: Image, colours: Colours) -> Tensor:
    """Return a resized RGB image as float32 (3, height, width), 0 to 255, channels in that order."""
    values = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
    return values.flip(0) if colours == "BGR" else values
