"""DPT-Hybrid MiDaS through transformers: inverse depth as T2I-CompBench++ stores it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from silmm.errors import DataError
from silmm_benchmarks.judges.loading import Placement, load_pretrained
from silmm_benchmarks.judges.options import JudgeOptions
from silmm_benchmarks.judges.pixels import HALF, squares
from silmm_benchmarks.judges.weight_files import fingerprint, locate

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

SIZE = 480
"""Side of the image in pixels; the published preprocessor says 384 (docs/spec/benchmarks.md 1.8)."""


def eight_bit(inverse: torch.Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a map as the official script stores it (docs/spec/benchmarks.md 1.8).

    Min-max normalised, then resized (bilinear, corners aligned), times 255, truncated. A flat map, which
    would be 0/0, is 0 everywhere: nothing is nearer than anything.

    Args:
        inverse: inverse depth, (side, side), float32.
        size: width and height of the image.

    Raises:
        DataError: the map is not finite.
    """
    import torch
    from torch.nn.functional import interpolate

    if not torch.isfinite(inverse).all():
        raise DataError("the depth model's map is not finite; take dtype=float32, or check its weights.")
    low, high = inverse.min(), inverse.max()
    unit = (inverse - low) / (high - low) if high > low else torch.zeros_like(inverse)
    resized = interpolate(unit[None, None], size=(size[1], size[0]), mode="bilinear", align_corners=True)
    grey: NDArray[np.uint8] = (resized[0, 0].clamp(0, 1) * 255).to(torch.uint8).cpu().numpy()
    return grey


class DptDepth:
    """Inverse depth at the image's own size, 8 bit; larger is nearer."""

    def __init__(self, model: Any, placement: Placement, weights: Mapping[str, str]) -> None:
        """Take a loaded `DPTForDepthEstimation`."""
        self._model, self._placement, self._weights = model, placement, weights

    @classmethod
    def load(cls, options: JudgeOptions) -> DptDepth:
        """Find the weights that the options name and load them.

        Raises:
            DataError: they are missing, broken or of another model.
        """
        from transformers import DPTForDepthEstimation

        path, placement = locate("dpt-hybrid", options.weights), Placement.of(options)
        model = load_pretrained(DPTForDepthEstimation, path, placement)
        if not model.config.is_hybrid:
            raise DataError(f"{path} is no DPT-hybrid; name the folder of Intel/dpt-hybrid-midas.")
        # The model interpolates its positions to any grid, but refuses other sizes than its config's.
        model.dpt.embeddings.image_size = (SIZE, SIZE)
        return cls(model, placement, fingerprint(path))

    @property
    def identity(self) -> Mapping[str, str]:
        """Judge, hash of the weights, precision, input."""
        return {
            "judge": "dpt-hybrid", **self._weights, **self._placement.identity,
            "input": f"{SIZE}x{SIZE} bilinear",
        }

    def depth(self, images: Sequence[Image]) -> list[NDArray[np.uint8]]:
        """Return one map per image, (height, width) uint8.

        Raises:
            DataError: a map is not finite.
        """
        import torch
        from PIL.Image import Resampling

        maps_8bit: list[NDArray[np.uint8]] = []
        with torch.inference_mode():
            for part in self._placement.chunks(len(images)):
                pixels = squares(images[part], SIZE, Resampling.BILINEAR, HALF, HALF)
                placed = pixels.to(self._placement.device, self._placement.dtype)
                maps = self._model(pixel_values=placed).predicted_depth.float()
                maps_8bit += [eight_bit(inverse, image.size) for inverse, image in zip(maps, images[part], strict=True)]
        return maps_8bit
