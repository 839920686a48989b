"""Mask2Former: from pixels to classes and masks of queries (docs/spec/geneval.md 4.5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F  # torch's own convention
from torch import Tensor, nn

from silmm_benchmarks.judges.mask2former.pixel_decoder import LEVELS, PixelDecoder, sine_positions
from silmm_benchmarks.judges.mask2former.swin import FeedForward, Swin


@dataclass(frozen=True)
class Sizes:
    """The sizes of a network; the defaults are those of the official checkpoint."""

    swin_width: int = 96
    swin_depths: tuple[int, ...] = (2, 2, 18, 2)
    swin_heads: tuple[int, ...] = (3, 6, 12, 24)
    mlp_ratio: int = 4
    width: int = 256
    heads: int = 8
    encoder_layers: int = 6
    encoder_hidden: int = 1024
    decoder_layers: int = 9
    decoder_hidden: int = 2048
    queries: int = 100
    classes: int = 80


@dataclass(frozen=True)
class Output:
    """The prediction after the last layer."""

    class_logits: Tensor
    """Shape (queries, classes + 1); the last class is "no object"."""
    mask_logits: Tensor
    """Shape (queries, height / 4, width / 4) of the padded input."""


class Attention(nn.Module):
    """torch's multi-head attention under mmcv's name."""

    def __init__(self, width: int, heads: int) -> None:
        """Take the sizes."""
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, forbidden: Tensor | None = None) -> Tensor:
        """Return (n_queries, width); `forbidden` is true where a query may not attend, (n_queries, n_keys)."""
        attended: Tensor = self.attn(query, key, value, attn_mask=forbidden, need_weights=False)[0]
        return attended


class DecoderLayer(nn.Module):
    """Masked cross-attention, self-attention and a feed-forward network, each with a residual and then a norm."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        """Take the sizes."""
        super().__init__()
        self.attentions = nn.ModuleList([Attention(width, heads), Attention(width, heads)])
        self.ffns = nn.ModuleList([FeedForward(width, hidden, nn.ReLU())])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(3)])

    def forward(self, queries: Tensor, position: Tensor, key: Tensor, value: Tensor, forbidden: Tensor) -> Tensor:
        """Return the queries, shape (n_queries, width); `key` has its position added, `value` has not."""
        queries = self.norms[0](queries + self.attentions[0](queries + position, key, value, forbidden))
        positioned = queries + position
        queries = self.norms[1](queries + self.attentions[1](positioned, positioned, queries))
        normed: Tensor = self.norms[2](queries + self.ffns[0](queries))
        return normed


class Decoder(nn.Module):
    """The layers and the norm in front of every prediction, under mmdet's names."""

    def __init__(self, layers: int, width: int, heads: int, hidden: int) -> None:
        """Take the sizes."""
        super().__init__()
        self.layers = nn.ModuleList([DecoderLayer(width, heads, hidden) for _ in range(layers)])
        self.post_norm = nn.LayerNorm(width)


class Head(nn.Module):
    """Pixel decoder and query decoder, under mmdet's names."""

    def __init__(self, channels: list[int], sizes: Sizes) -> None:
        """Take the backbone's channels and the sizes."""
        super().__init__()
        width = sizes.width
        self.pixel_decoder = PixelDecoder(channels, width, sizes.encoder_layers, sizes.heads, sizes.encoder_hidden)
        self.transformer_decoder = Decoder(sizes.decoder_layers, width, sizes.heads, sizes.decoder_hidden)
        self.query_embed = nn.Embedding(sizes.queries, width)
        self.query_feat = nn.Embedding(sizes.queries, width)
        self.level_embed = nn.Embedding(LEVELS, width)
        self.cls_embed = nn.Linear(width, sizes.classes + 1)
        self.mask_embed = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, maps: list[Tensor]) -> Output:
        """Return the last prediction for the backbone's maps."""
        features, levels = self.pixel_decoder(maps)
        values = [level[0].flatten(1).t() + self.level_embed.weight[n] for n, level in enumerate(levels)]
        sizes = [(level.shape[2], level.shape[3]) for level in levels]
        keys = [
            value + sine_positions(size, value.shape[1] // 2, value.device).flatten(1).t()
            for value, size in zip(values, sizes, strict=True)
        ]
        queries, position = self.query_feat.weight, self.query_embed.weight
        for number, layer in enumerate(self.transformer_decoder.layers):
            level = number % LEVELS
            forbidden = self._forbidden(self._masks(queries, features), sizes[level])
            queries = layer(queries, position, keys[level], values[level], forbidden)
        return Output(self.class_logits(queries), self._masks(queries, features))

    def class_logits(self, queries: Tensor) -> Tensor:
        """Return the class logits of queries, shape (n_queries, classes + 1)."""
        logits: Tensor = self.cls_embed(self.transformer_decoder.post_norm(queries))
        return logits

    def _masks(self, queries: Tensor, features: Tensor) -> Tensor:
        embedded = self.mask_embed(self.transformer_decoder.post_norm(queries))
        logits: Tensor = embedded @ features[0].flatten(1)
        return logits.view(-1, *features.shape[2:])

    @staticmethod
    def _forbidden(masks: Tensor, size: tuple[int, int]) -> Tensor:
        """Return where each query may not attend, (n_queries, n_keys); a query that may nowhere attends everywhere."""
        resized = F.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0].flatten(1)
        outside = resized.sigmoid() < 0.5
        return outside & ~outside.all(1, keepdim=True)


class Mask2Former(nn.Module):
    """The network, with the names of the official checkpoint."""

    def __init__(self, sizes: Sizes | None = None) -> None:
        """Take the sizes; without any, the official ones."""
        super().__init__()
        self.sizes = sizes or Sizes()
        self.backbone = Swin(
            self.sizes.swin_width, self.sizes.swin_depths, self.sizes.swin_heads, self.sizes.mlp_ratio
        )
        self.panoptic_head = Head(self.backbone.widths, self.sizes)

    def forward(self, pixels: Tensor) -> Output:
        """Return the prediction for normalised pixels (1, 3, height, width), sides multiples of 32."""
        prediction: Output = self.panoptic_head(self.backbone(pixels))
        return prediction
