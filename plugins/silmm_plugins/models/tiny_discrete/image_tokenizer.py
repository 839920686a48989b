"""The image tokenizer of `tiny-discrete`: vector quantisation of 4x4 patches.

It is patch-local on purpose: equal patches of pixels always get the same code, so the plain background is a
single code. Encoders with a larger field of view spread it over many codes, which makes sampling much harder to learn
(docs/spec/tiny-lmm.md, The image tokenizer). The shapes world has about 1,150 distinct patches, so a codebook of
1,024 loses little.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 4


class TinyImageTokenizer(nn.Module):
    """Images (N, 3, H, W) in [0, 1] to codes (N, patches), row by row, and back."""

    codebook: Tensor
    """The patch of each code, (codes, 3 * PATCH * PATCH), in [0, 1]."""

    def __init__(self, codes: int, grid: int = 8) -> None:
        """Start with an empty codebook; `grid` is the number of patches along a side."""
        super().__init__()
        self.grid = grid
        self.register_buffer("codebook", torch.zeros(codes, 3 * PATCH * PATCH))

    @property
    def codes(self) -> int:
        """Size of the codebook."""
        return len(self.codebook)

    def encode(self, pixels: Tensor) -> Tensor:
        """Return the nearest code of each patch, (N, grid * grid)."""
        patches = F.unfold(pixels, PATCH, stride=PATCH).transpose(1, 2)
        # |p - c|² without |p|², which is the same for all codes.
        distance = self.codebook.square().sum(1) - 2 * patches @ self.codebook.T
        return distance.argmin(-1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return images (N, 3, H, W) in [0, 1] from codes (N, grid * grid)."""
        side = self.grid * PATCH
        patches = self.codebook[codes].transpose(1, 2)
        return F.fold(patches, (side, side), PATCH, stride=PATCH)
