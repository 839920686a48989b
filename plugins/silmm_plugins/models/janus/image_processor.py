"""Images for the vision tower: scaled to its side, padded to a square, normalised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as Pil

from silmm.contracts.models import Image


@dataclass(frozen=True)
class ImageProcessor:
    """The original preprocessing (docs/spec/base-models.md 5.4); the values come from the checkpoint."""

    side: int
    """Width and height of the vision tower's input, in pixels."""
    shortest: int = 14
    """Least width and height of the scaled image, in pixels."""
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    background: tuple[int, ...] = (127, 127, 127)
    """Colour of the padding, RGB."""
    scale: float = 1 / 255

    @classmethod
    def of(cls, side: int, stored: Mapping[str, Any]) -> ImageProcessor:
        """Read the checkpoint's preprocessor configuration, of either layout.

        Raises:
            ValueError, TypeError: a value is not of the kind that its key has.
        """
        mean = tuple(map(float, stored.get("image_mean") or cls.mean))
        std = tuple(map(float, stored.get("image_std") or cls.std))
        background = stored.get("background_color") or [int(value * 255) for value in mean]
        return cls(
            side=side,
            shortest=int(stored.get("min_size", cls.shortest)),
            mean=mean if stored.get("do_normalize", True) else (0.0, 0.0, 0.0),
            std=std if stored.get("do_normalize", True) else (1.0, 1.0, 1.0),
            background=tuple(map(int, background)),
            scale=float(stored.get("rescale_factor", cls.scale)),
        )

    def pixels(self, images: Sequence[Image]) -> torch.Tensor:
        """Return pixel values, float32 (N, 3, side, side), of uint8 images of any size."""
        squares = np.stack([self._square(image) for image in images]).astype(np.float32)
        mean, std = np.array(self.mean, dtype=np.float32), np.array(self.std, dtype=np.float32)
        values: npt.NDArray[np.float32] = (squares * np.float32(self.scale) - mean) / std
        return torch.from_numpy(values).movedim(-1, 1)

    def _square(self, image: Image) -> Image:
        height, width = image.shape[:2]
        longest = max(height, width)
        wide = max(int(width / longest * self.side), self.shortest)
        high = max(int(height / longest * self.side), self.shortest)
        scaled = Pil.fromarray(image).resize((wide, high), Pil.Resampling.BICUBIC)
        square = Pil.new("RGB", (self.side, self.side), self.background)
        square.paste(scaled, ((self.side - wide) // 2, (self.side - high) // 2))
        return np.asarray(square)
