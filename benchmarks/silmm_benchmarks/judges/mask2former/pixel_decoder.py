"""The pixel decoder: multi-scale deformable attention and a map at stride 4 (docs/spec/geneval.md 4.4).

The attention samples with torch's `grid_sample`, on a CPU as weighted sums of table rows (`embedding_bag`), which takes
a third of the time; there is no compiled operator of its own that could fail on a device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # torch's own convention
from torch import Tensor, nn

from silmm_benchmarks.judges.mask2former.swin import FeedForward

LEVELS = 3
POINTS = 4
GROUPS = 32
Size = tuple[int, int]
"""Height and width."""


def sine_positions(size: Size, features: int, device: torch.device) -> Tensor:
    """Return sine and cosine of rows, then of columns: (2 * features, height, width).

    Positions count from 1 and are divided by (last + 1e-6) times 2 pi; temperature 10000.
    """
    frequency = torch.arange(features, dtype=torch.float32, device=device)
    frequency = 10000 ** (2 * torch.div(frequency, 2, rounding_mode="floor") / features)
    axes = []
    for length in size:
        steps = torch.arange(1, length + 1, dtype=torch.float32, device=device)
        phase = (steps / (steps[-1] + 1e-6) * (2 * math.pi))[:, None] / frequency
        axes.append(torch.stack((phase[:, 0::2].sin(), phase[:, 1::2].cos()), dim=2).flatten(1))
    rows, columns = axes
    height, width = size
    both = torch.cat((rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)), dim=2)
    return both.permute(2, 0, 1)


def reference_points(sizes: Sequence[Size], device: torch.device) -> Tensor:
    """Return the centre of each token in [0, 1] as (x, y), shape (n_tokens, 2), level by level."""
    points = []
    for height, width in sizes:
        y = (torch.arange(height, dtype=torch.float32, device=device) + 0.5) / height
        x = (torch.arange(width, dtype=torch.float32, device=device) + 0.5) / width
        points.append(torch.stack((x.expand(height, width), y[:, None].expand(height, width)), dim=2).view(-1, 2))
    return torch.cat(points)


def sample_by_grid(values: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """Return weighted sums of bilinear samples, zeros outside of a level: (n_queries, heads, channels).

    Args:
        values: of the tokens, level by level, shape (n_tokens, heads, channels).
        sizes: height and width of each level.
        locations: (x, y) of the samples in [0, 1], shape (n_queries, heads, levels, points, 2).
        weights: of the samples, shape (n_queries, heads, levels, points).
    """
    sums = torch.zeros_like(values[:1].permute(1, 2, 0).expand(-1, -1, len(locations)))
    start = 0
    for level, (height, width) in enumerate(sizes):
        source = values[start : start + height * width].permute(1, 2, 0).reshape(values.shape[1], -1, height, width)
        grid = (2 * locations[:, :, level] - 1).transpose(0, 1)
        sampled = F.grid_sample(source, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        sums += (sampled * weights[:, :, level].transpose(0, 1)[:, None]).sum(-1)
        start += height * width
    return sums.permute(2, 0, 1)


def sample_by_rows(values: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """Return what :func:`sample_by_grid` returns: each sample is four rows of `values` with their weights."""
    n_tokens, heads, channels = values.shape
    starts = torch.tensor([0, *(height * width for height, width in sizes[:-1])]).cumsum(0)[:, None]
    extent = locations.new_tensor([[[width, height]] for height, width in sizes])
    corner = locations * extent - 0.5
    first = corner.floor()
    fraction = corner - first
    rows, shares = [], []
    for step in ([0, 0], [1, 0], [0, 1], [1, 1]):
        cell, taken = first + first.new_tensor(step), torch.tensor(step, dtype=torch.bool)
        inside = ((cell >= 0) & (cell < extent)).all(-1)
        x, y = cell.clamp(min=0).minimum(extent - 1).int().unbind(-1)
        row = y * extent[..., 0].int() + x + starts.int()
        rows.append(row * heads + torch.arange(heads, dtype=torch.int32)[:, None, None])
        shares.append(torch.where(taken, fraction, 1 - fraction).prod(-1) * inside * weights)
    sums: Tensor = F.embedding_bag(
        torch.stack(rows, -1).view(len(locations) * heads, -1), values.reshape(n_tokens * heads, channels),
        mode="sum", per_sample_weights=torch.stack(shares, -1).view(len(locations) * heads, -1),
    )
    return sums.view(-1, heads, channels)


class DeformableAttention(nn.Module):
    """Each token samples four points of each level around its own position, per head."""

    def __init__(self, width: int, heads: int) -> None:
        """Take the number of channels and of heads."""
        super().__init__()
        self.heads = heads
        self.sampling_offsets = nn.Linear(width, heads * LEVELS * POINTS * 2)
        self.attention_weights = nn.Linear(width, heads * LEVELS * POINTS)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, positions: Tensor, sizes: Sequence[Size], references: Tensor) -> Tensor:
        """Return what tokens (n, width) gather from each other, shape (n, width), without the residual.

        Offsets and weights come of tokens + positions, values of tokens alone.
        """
        count, width = tokens.shape
        query = tokens + positions
        offsets = self.sampling_offsets(query).view(count, self.heads, LEVELS, POINTS, 2)
        weights = self.attention_weights(query).view(count, self.heads, LEVELS * POINTS).softmax(-1)
        scale = offsets.new_tensor([[[columns, height]] for height, columns in sizes])
        locations = references[:, None, None, None] + offsets / scale
        sample = sample_by_rows if tokens.device.type == "cpu" else sample_by_grid
        values = self.value_proj(tokens).view(count, self.heads, -1)
        gathered = sample(values, sizes, locations, weights.view(count, self.heads, LEVELS, POINTS))
        output: Tensor = self.output_proj(gathered.reshape(count, width))
        return output


class EncoderLayer(nn.Module):
    """Deformable attention and a feed-forward network, each with a residual and then a norm."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        """Take the sizes."""
        super().__init__()
        self.attentions = nn.ModuleList([DeformableAttention(width, heads)])
        self.ffns = nn.ModuleList([FeedForward(width, hidden, nn.ReLU())])
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])

    def forward(self, tokens: Tensor, positions: Tensor, sizes: Sequence[Size], references: Tensor) -> Tensor:
        """Return (n_tokens, width)."""
        tokens = self.norms[0](tokens + self.attentions[0](tokens, positions, sizes, references))
        normed: Tensor = self.norms[1](tokens + self.ffns[0](tokens))
        return normed


class ConvNorm(nn.Module):
    """A convolution and a group norm, under mmcv's names."""

    def __init__(self, channels: int, width: int, kernel: int, *, bias: bool) -> None:
        """Take the sizes; the padding keeps the map's."""
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=bias)
        self.gn = nn.GroupNorm(GROUPS, width)

    def forward(self, features: Tensor) -> Tensor:
        """Return (1, width, height, width)."""
        normed: Tensor = self.gn(self.conv(features))
        return normed


class Encoder(nn.Module):
    """The layers, under mmcv's name."""

    def __init__(self, layers: int, width: int, heads: int, hidden: int) -> None:
        """Take the sizes."""
        super().__init__()
        self.layers = nn.ModuleList([EncoderLayer(width, heads, hidden) for _ in range(layers)])


class PixelDecoder(nn.Module):
    """Three encoded levels (strides 32, 16, 8) and the map at stride 4 that masks are read from."""

    def __init__(self, channels: Sequence[int], width: int, layers: int, heads: int, hidden: int) -> None:
        """Take the backbone's channels by falling resolution, and the sizes of the encoder."""
        super().__init__()
        self.input_convs = nn.ModuleList([ConvNorm(wide, width, 1, bias=True) for wide in channels[:0:-1]])
        self.encoder = Encoder(layers, width, heads, hidden)
        self.level_encoding = nn.Embedding(LEVELS, width)
        self.lateral_convs = nn.ModuleList([ConvNorm(channels[0], width, 1, bias=False)])
        self.output_convs = nn.ModuleList([ConvNorm(width, width, 3, bias=False)])
        self.mask_feature = nn.Conv2d(width, width, 1)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the mask features (1, width, height, width) and the levels, those of stride 32 first."""
        levels = [conv(features) for conv, features in zip(self.input_convs, maps[:0:-1], strict=True)]
        sizes = [(level.shape[2], level.shape[3]) for level in levels]
        width, device = levels[0].shape[1], levels[0].device
        positions = torch.cat([
            (sine_positions(size, width // 2, device) + self.level_encoding.weight[number, :, None, None]).flatten(1)
            for number, size in enumerate(sizes)
        ], dim=1).t()
        references = reference_points(sizes, device)
        tokens = torch.cat([level[0].flatten(1) for level in levels], dim=1).t()
        for layer in self.encoder.layers:
            tokens = layer(tokens, positions, sizes, references)
        parts = torch.split(tokens, [height * columns for height, columns in sizes])
        encoded = [part.t().reshape(1, width, *size) for part, size in zip(parts, sizes, strict=True)]
        fine = self.lateral_convs[0](maps[0])
        fine = fine + F.interpolate(encoded[-1], size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return self.mask_feature(F.relu(self.output_convs[0](fine))), encoded
