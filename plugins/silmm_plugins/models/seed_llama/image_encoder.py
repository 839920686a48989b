"""The image encoder ViT-g/14 of EVA-CLIP and pre-norm blocks, under the names of the published weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_EPS = 1e-6


class Attention(nn.Module):
    """Attention of every position to every position; `split_bias` learns none for the keys."""

    def __init__(self, width: int, heads: int, *, split_bias: bool = False) -> None:
        """Build the projections; `heads` divides `width`."""
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=not split_bias)
        self.proj = nn.Linear(width, width)
        self.q_bias = nn.Parameter(torch.zeros(width)) if split_bias else None
        self.v_bias = nn.Parameter(torch.zeros(width)) if split_bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, time, width) to the same shape."""
        bias: Tensor = self.qkv.bias
        if self.q_bias is not None and self.v_bias is not None:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        q, k, v = (
            part.view(*part.shape[:2], self.heads, -1).transpose(1, 2)
            for part in F.linear(x, self.qkv.weight, bias).chunk(3, -1)
        )
        mixed: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return mixed


class Mlp(nn.Module):
    """Two linear maps with the exact GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        """Build the maps."""
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, width) to the same shape."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int, hidden: int, *, split_bias: bool = False) -> None:
        """Build the two halves."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.attn = Attention(width, heads, split_bias=split_bias)
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        self.mlp = Mlp(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, time, width) to the same shape."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class PatchEmbedding(nn.Module):
    """Square patches to vectors."""

    def __init__(self, width: int, patch: int) -> None:
        """Build the projection of patches with `patch` pixels per side."""
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, stride=patch)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (batch, 3, side, side) to (batch, patches, width), row by row."""
        out: Tensor = self.proj(pixels)
        return out.flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """Pixels to one vector per patch and one for the image, without a final norm (docs/spec/base-models.md 2.1)."""

    def __init__(self, *, width: int, depth: int, heads: int, hidden: int, patch: int, grid: int) -> None:
        """Build the network for images of `grid` patches per side; real sizes: 1408, 39, 16, 6144, 14, 16."""
        super().__init__()
        self.side, self.heads = grid * patch, heads
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, grid * grid + 1, width))
        self.patch_embed = PatchEmbedding(width, patch)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, split_bias=True) for _ in range(depth))

    def forward(self, pixels: Tensor) -> Tensor:
        """Map normalised pixels (batch, 3, side, side) to (batch, 1 + patches, width)."""
        patches: Tensor = self.patch_embed(pixels)
        x = torch.cat([self.cls_token.expand(len(pixels), -1, -1), patches], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x
