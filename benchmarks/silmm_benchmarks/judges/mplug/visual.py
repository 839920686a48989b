"""The image tower of mPLUG: CLIP's vision transformer, all blocks, without its projection."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from silmm_benchmarks.judges.mplug.config import MPlugConfig


class ImageTower(nn.Module):
    """Gives one state for each patch and one before them (state dict: visual_encoder.visual)."""

    def __init__(self, config: MPlugConfig) -> None:
        """Make the tower; its position embeddings already have the size of the image's grid."""
        super().__init__()
        width, patch = config.clip_vision_width, config.clip_vision_patch_size
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(config.image_tokens, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = _Blocks(width, config.clip_vision_layers, config.vision_heads)
        self.ln_post = nn.LayerNorm(width)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels (images, 3, side, side) to states (images, 1 + patches, width)."""
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(patches), 1, -1)
        states = self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding)
        return self.ln_post(self.transformer(states))  # type: ignore[no-any-return]  # untyped module call


class _Blocks(nn.Module):
    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(_Block(width, heads) for _ in range(layers)))

    def forward(self, states: Tensor) -> Tensor:
        return self.resblocks(states)  # type: ignore[no-any-return]  # untyped module call


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = _Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, states: Tensor) -> Tensor:
        states = states + self.attn(self.ln_1(states))
        inner = self.mlp["c_fc"](self.ln_2(states))
        # CLIP's quick form of GELU, not the exact one of the BERT parts.
        return states + self.mlp["c_proj"](inner * torch.sigmoid(1.702 * inner))  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """Self-attention whose query, key and value weights are in one matrix, as torch stores them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, states: Tensor) -> Tensor:
        joined = F.linear(states, self.in_proj_weight, self.in_proj_bias)
        query, key, value = torch.unflatten(joined, -1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]
