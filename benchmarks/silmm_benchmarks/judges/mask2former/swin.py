"""The Swin backbone as mmdet computes it: windows of 7, its channel order of patch merging (docs/spec/geneval.md 4.3).

Modules carry mmdet's names, so that the official checkpoint loads without renaming.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # torch's own convention
from torch import Tensor, nn

WINDOW = 7
SHIFT = 3
"""Of odd blocks; it stays 3 on maps that are smaller than a window."""
_FORBIDDEN = -100.0
"""Added to the attention between tokens that the cyclic shift brought together."""


def bias_index() -> Tensor:
    """Return each pair of tokens' row of the bias table, (dy + 6) * 13 + (dx + 6), shape (49, 49)."""
    rows, columns = (axis.flatten() for axis in torch.meshgrid(*[torch.arange(WINDOW)] * 2, indexing="ij"))
    dy, dx = (axis[:, None] - axis[None, :] + WINDOW - 1 for axis in (rows, columns))
    return dy * (2 * WINDOW - 1) + dx


def windows(tokens: Tensor) -> Tensor:
    """Cut a map (height, width, channels), both multiples of 7, into windows (n_windows, 49, channels)."""
    height, width, channels = tokens.shape
    cells = tokens.view(height // WINDOW, WINDOW, width // WINDOW, WINDOW, channels).transpose(1, 2)
    return cells.reshape(-1, WINDOW * WINDOW, channels)


def merged(cells: Tensor, height: int, width: int) -> Tensor:
    """Undo :func:`windows`."""
    rows = cells.view(height // WINDOW, width // WINDOW, WINDOW, WINDOW, -1).transpose(1, 2)
    return rows.reshape(height, width, -1)


def shift_bias(height: int, width: int, device: torch.device) -> Tensor:
    """Return 0 for pairs of tokens of one region and -100 for others, shape (n_windows, 1, 49, 49)."""
    region = torch.zeros(height, width, 1, device=device)
    cuts = (slice(0, -WINDOW), slice(-WINDOW, -SHIFT), slice(-SHIFT, None))
    for number, (rows, columns) in enumerate((rows, columns) for rows in cuts for columns in cuts):
        region[rows, columns] = number
    of_token = windows(region).squeeze(-1)
    separated = of_token[:, None, :] != of_token[:, :, None]
    return torch.zeros_like(separated, dtype=torch.float32).masked_fill_(separated, _FORBIDDEN)[:, None]


class WindowAttention(nn.Module):
    """Attention inside windows with a relative position bias."""

    def __init__(self, width: int, heads: int) -> None:
        """Take the number of channels and of heads."""
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, heads))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, cells: Tensor, index: Tensor, shifted: Tensor | None) -> Tensor:
        """Return (n_windows, 49, channels); `shifted` is the bias of :func:`shift_bias`."""
        count, tokens, width = cells.shape
        query, key, value = self.qkv(cells).view(count, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[index.flatten()].view(tokens, tokens, -1).permute(2, 0, 1)[None]
        bias = bias if shifted is None else bias + shifted
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        projected: Tensor = self.proj(mixed.transpose(1, 2).reshape(count, tokens, width))
        return projected


class ShiftedWindowAttention(nn.Module):
    """Pads the map to whole windows, shifts it, attends, and undoes both."""

    def __init__(self, width: int, heads: int, *, shifted: bool) -> None:
        """Take the sizes and whether windows are shifted by 3."""
        super().__init__()
        self.w_msa = WindowAttention(width, heads)
        self.shift = SHIFT if shifted else 0

    def forward(self, tokens: Tensor, index: Tensor, shifted: Tensor) -> Tensor:
        """Return the attended map; padded tokens take part, as in the original."""
        height, width, _ = tokens.shape
        padded = F.pad(tokens, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        if self.shift:
            padded = padded.roll((-self.shift, -self.shift), (0, 1))
        cells = self.w_msa(windows(padded), index, shifted if self.shift else None)
        attended = merged(cells, padded.shape[0], padded.shape[1])
        if self.shift:
            attended = attended.roll((self.shift, self.shift), (0, 1))
        return attended[:height, :width]


class FeedForward(nn.Module):
    """Two linear layers with an activation between them, under mmcv's names."""

    def __init__(self, width: int, hidden: int, activation: nn.Module) -> None:
        """Take the sizes and the activation."""
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(width, hidden), activation), nn.Linear(hidden, width)])

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the same shape, without a residual."""
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens


class SwinBlock(nn.Module):
    """One block with residuals: x + attention(norm(x)), then x + ffn(norm(x))."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, *, shifted: bool) -> None:
        """Take the sizes and whether the block shifts its windows."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = ShiftedWindowAttention(width, heads, shifted=shifted)
        self.norm2 = nn.LayerNorm(width)
        self.ffn = FeedForward(width, mlp_ratio * width, nn.GELU())

    def forward(self, tokens: Tensor, index: Tensor, shifted: Tensor) -> Tensor:
        """Return (height, width, channels)."""
        tokens = tokens + self.attn(self.norm1(tokens), index, shifted)
        added: Tensor = tokens + self.ffn(self.norm2(tokens))
        return added


class PatchMerging(nn.Module):
    """Halves a map: channel c of the four positions becomes channel c * 4 + (2 * row + column)."""

    def __init__(self, width: int) -> None:
        """Take the number of channels, which doubles."""
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (height / 2, width / 2, 2 * channels), odd sides padded with zeros."""
        padded = F.pad(tokens, (0, 0, 0, tokens.shape[1] % 2, 0, tokens.shape[0] % 2))
        height, width, channels = padded.shape
        cells = padded.view(height // 2, 2, width // 2, 2, channels).permute(0, 2, 4, 1, 3)
        reduced: Tensor = self.reduction(self.norm(cells.reshape(height // 2, width // 2, 4 * channels)))
        return reduced


class SwinStage(nn.Module):
    """Blocks of one resolution, and the merging that follows them."""

    def __init__(self, width: int, depth: int, heads: int, mlp_ratio: int, *, last: bool) -> None:
        """Take the sizes; the last stage has no merging."""
        super().__init__()
        self.blocks = nn.ModuleList([SwinBlock(width, heads, mlp_ratio, shifted=n % 2 == 1) for n in range(depth)])
        self.downsample = None if last else PatchMerging(width)

    def forward(self, tokens: Tensor, index: Tensor) -> Tensor:
        """Return the map after the blocks."""
        height, width, _ = tokens.shape
        shifted = shift_bias(height + -height % WINDOW, width + -width % WINDOW, tokens.device)
        for block in self.blocks:
            tokens = block(tokens, index, shifted)
        return tokens


class PatchEmbedding(nn.Module):
    """Patches of 4x4 pixels as tokens."""

    def __init__(self, width: int) -> None:
        """Take the number of channels."""
        super().__init__()
        self.projection = nn.Conv2d(3, width, 4, 4)
        self.norm = nn.LayerNorm(width)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (height / 4, width / 4, channels) of pixels (1, 3, height, width)."""
        tokens: Tensor = self.norm(self.projection(pixels)[0].permute(1, 2, 0))
        return tokens


class Swin(nn.Module):
    """Four stages with an output each."""

    def __init__(self, width: int, depths: Sequence[int], heads: Sequence[int], mlp_ratio: int) -> None:
        """Take the channels of the first stage, and blocks and heads of each."""
        super().__init__()
        self.widths = [width << number for number in range(len(depths))]
        self.patch_embed = PatchEmbedding(width)
        self.stages = nn.ModuleList([
            SwinStage(stage_width, depth, n_heads, mlp_ratio, last=number == len(depths) - 1)
            for number, (stage_width, depth, n_heads) in enumerate(zip(self.widths, depths, heads, strict=True))
        ])
        for number, stage_width in enumerate(self.widths):
            self.add_module(f"norm{number}", nn.LayerNorm(stage_width))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return maps (1, channels, height, width) of strides 4, 8, 16, 32 for pixels (1, 3, height, width)."""
        tokens, index = self.patch_embed(pixels), bias_index().to(pixels.device)
        maps = []
        for number, stage in enumerate(self.stages):
            assert isinstance(stage, SwinStage)  # noqa: S101  # for the type checker
            tokens = stage(tokens, index)
            maps.append(self.get_submodule(f"norm{number}")(tokens).permute(2, 0, 1)[None])
            if stage.downsample is not None:
                tokens = stage.downsample(tokens)
        return maps
