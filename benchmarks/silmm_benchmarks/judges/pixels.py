"""Images as a model's input: resized by Pillow as the official scripts do, scaled and normalised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image, Resampling

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)


def squares(
    images: Sequence[Image], size: int, resample: Resampling, mean: Sequence[float], std: Sequence[float]
) -> torch.Tensor:
    """Return the images at size × size, aspect ignored: (n, 3, size, size), float32, normalised."""
    return normalised([image.resize((size, size), resample) for image in images], mean, std)


def centre_squares(
    images: Sequence[Image], size: int, resample: Resampling, mean: Sequence[float], std: Sequence[float]
) -> torch.Tensor:
    """Return the middle of the images, their short side at `size`: (n, 3, size, size), normalised.

    The long side and the crop are rounded as torchvision does, whose transforms CLIP is published with.
    """
    return normalised([_centre(image, size, resample) for image in images], mean, std)


def normalised(images: Sequence[Image], mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Return images of one size as (n, 3, height, width), float32: (value / 255 - mean) / std."""
    import torch

    stack = np.stack([np.asarray(image.convert("RGB"), dtype=np.float32) for image in images])
    shape = (1, 3, 1, 1)
    scaled = torch.from_numpy(stack).permute(0, 3, 1, 2) / 255
    return (scaled - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


def _centre(image: Image, size: int, resample: Resampling) -> Image:
    width, height = image.size
    if width <= height:
        wide, high = size, int(size * height / width)
    else:
        wide, high = int(size * width / height), size
    left, upper = round((wide - size) / 2), round((high - size) / 2)
    resized = image.resize((wide, high), resample)
    return resized.crop((left, upper, left + size, upper + size))
