"""The frozen decoder of `tiny-continuous`: features and noise in, an image out, in one pass.

A stock diffusers transformer with cross-attention works on the 8x8 grid of patches; it attends to the
projected features H and to the decoder's noise, and chooses a patch of a codebook at each position. The noise is
a few small random numbers: they decide what a prompt leaves open, such as exact positions and unsaid colours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import Transformer2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from silmm_plugins.models.tiny.model import PATCH


class TinyDecoder(nn.Module):
    """Condition projector, noise embedding, diffusers transformer and codebook."""

    codebook: Tensor
    """The pixels of each patch, (codes, 3 * PATCH * PATCH), in [0, 1]."""

    def __init__(
        self,
        features: int,
        width: int,
        layers: int,
        heads: int,
        *,
        codes: int,
        noise_slots: int,
        noise_levels: int,
        grid: int = 8,
    ) -> None:
        """Build with random weights; `features` is the last dimension of H."""
        super().__init__()
        self.grid, self.noise_levels, self.noise_slots = grid, noise_levels, noise_slots
        self.projector = nn.Linear(features, width)
        self.noise = nn.Embedding(noise_slots * noise_levels, width)
        self.places = nn.Parameter(torch.randn(width, grid, grid) * 0.1)
        self.body = Transformer2DModel(
            num_attention_heads=heads,
            attention_head_dim=width // heads,
            in_channels=width,
            num_layers=layers,
            norm_num_groups=8,
            cross_attention_dim=width,
        )
        self.head = nn.Linear(width, codes)
        self.register_buffer("codebook", torch.zeros(codes, 3 * PATCH * PATCH))

    def logits(self, features: Tensor, noise: Tensor) -> Tensor:
        """Return the logits of the patches, (batch, grid * grid, codes).

        Args:
            features: H, (batch, L, D).
            noise: int64 (batch, noise_slots) below `noise_levels`; see :func:`sample_noise`.
        """
        slots = torch.arange(self.noise_slots, device=noise.device) * self.noise_levels
        context = torch.cat([self.projector(features), self.noise(noise + slots)], 1)
        canvas = self.places.expand(len(features), -1, -1, -1)
        (decoded,) = self.body(canvas, encoder_hidden_states=context, return_dict=False)
        logits: Tensor = self.head(decoded.flatten(2).transpose(1, 2))
        return logits

    def decode(self, features: Tensor, noise: Tensor) -> Tensor:
        """Return images (batch, 3, H, W) in [0, 1]: the likeliest patch at each position."""
        side = self.grid * PATCH
        patches = self.codebook[self.logits(features, noise).argmax(-1)].transpose(1, 2)
        return F.fold(patches, (side, side), PATCH, stride=PATCH)


def sample_noise(seeds: Sequence[int], slots: int, levels: int) -> Tensor:
    """Return int64 (batch, slots) numbers below `levels`, each row from its own seed alone."""
    rows = [np.random.Generator(np.random.Philox(key=seed)).integers(levels, size=slots) for seed in seeds]
    return torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0, slots, dtype=torch.long)
