"""The causal Q-Former: 32 queries that read an image, each with attention to the queries before it alone.

Module names are those of the published weights, `Qformer.bert.…` (docs/spec/base-models.md 2.1 and 2.2).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

_EPS = 1e-12
"""BERT's."""


class Attention(nn.Module):
    """Queries from one sequence, keys and values from the same or another one."""

    def __init__(self, width: int, keys: int, heads: int) -> None:
        """Build the projections; `keys` is the width of the keys' sequence."""
        super().__init__()
        self.heads = heads
        self.self = nn.ModuleDict({
            "query": nn.Linear(width, width), "key": nn.Linear(keys, width), "value": nn.Linear(keys, width),
        })
        self.output = _output(width, width)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """Map x (batch, time, width); without `other` it attends to itself, causally."""
        source = x if other is None else other
        q, k, v = (
            self.self[name](states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for name, states in (("query", x), ("key", source), ("value", source))
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=other is None)
        return _after(self.output, mixed.transpose(1, 2).flatten(2), x)


class Layer(nn.Module):
    """A post-norm layer; every second one has cross-attention to the image."""

    def __init__(self, width: int, keys: int, heads: int, hidden: int, *, cross: bool) -> None:
        """Build the layer, with `cross` with cross-attention."""
        super().__init__()
        self.attention = Attention(width, width, heads)
        self.crossattention = Attention(width, keys, heads) if cross else None
        self.intermediate_query = nn.ModuleDict({"dense": nn.Linear(width, hidden)})
        self.output_query = _output(hidden, width)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """Map x (batch, queries, width) with image (batch, positions, keys)."""
        x = self.attention(x)
        if self.crossattention is not None:
            x = self.crossattention(x, image)
        return _after(self.output_query, F.gelu(self.intermediate_query["dense"](x)), x)


class QFormer(nn.Module):
    """The Q-Former without its text half."""

    def __init__(self, layers: Mapping[int, bool], *, width: int, keys: int, heads: int, hidden: int) -> None:
        """Build the layers; `layers` says whether each has cross-attention to the image."""
        super().__init__()
        stack = nn.ModuleList(Layer(width, keys, heads, hidden, cross=layers[i]) for i in sorted(layers))
        self.bert = nn.ModuleDict({
            "embeddings": nn.ModuleDict({"LayerNorm": nn.LayerNorm(width, eps=_EPS)}),
            "encoder": nn.ModuleDict({"layer": stack}),
        })

    def forward(self, queries: Tensor, image: Tensor) -> Tensor:
        """Map queries (batch, 32, width) and image (batch, positions, keys) to (batch, 32, width)."""
        parts: Mapping[str, nn.ModuleDict] = dict(self.bert.items())  # type: ignore[arg-type]
        x: Tensor = parts["embeddings"]["LayerNorm"](queries)
        stack = parts["encoder"]["layer"]
        assert isinstance(stack, nn.ModuleList)  # noqa: S101 - built above
        for layer in stack:
            x = layer(x, image)
        return x


def _output(width_in: int, width: int) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(width_in, width), "LayerNorm": nn.LayerNorm(width, eps=_EPS)})


def _after(output: nn.ModuleDict, mixed: Tensor, x: Tensor) -> Tensor:
    """Return the norm of the residual sum."""
    out: Tensor = output["LayerNorm"](output["dense"](mixed) + x)
    return out
