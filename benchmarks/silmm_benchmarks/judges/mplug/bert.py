"""BERT's parts, which the text encoder, the fusion encoder and the decoder of mPLUG are made of.

Module names are those of the published state dict; dropout is left out, for nothing is trained here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from silmm_benchmarks.judges.mplug.config import BertSizes


class Embeddings(nn.Module):
    """Word, position and segment embeddings; there is one segment only."""

    def __init__(self, sizes: BertSizes) -> None:
        """Make the three tables and their norm."""
        super().__init__()
        self.word_embeddings = nn.Embedding(sizes.vocab_size, sizes.hidden_size)
        self.position_embeddings = nn.Embedding(sizes.max_position_embeddings, sizes.hidden_size)
        self.token_type_embeddings = nn.Embedding(sizes.type_vocab_size, sizes.hidden_size)
        self.LayerNorm = nn.LayerNorm(sizes.hidden_size, eps=sizes.layer_norm_eps)

    def forward(self, tokens: Tensor, start: int = 0) -> Tensor:
        """Map tokens (…, length), the first of them at position `start`, to (…, length, hidden)."""
        positions = torch.arange(start, start + tokens.shape[-1], device=tokens.device)
        summed = self.word_embeddings(tokens) + self.token_type_embeddings.weight[0]
        return self.LayerNorm(summed + self.position_embeddings(positions))  # type: ignore[no-any-return]


class Projections(nn.Module):
    """Query, key and value of all heads, and how heads are separated."""

    def __init__(self, sizes: BertSizes) -> None:
        """Make the three linear maps."""
        super().__init__()
        self.heads = sizes.num_attention_heads
        self.query = nn.Linear(sizes.hidden_size, sizes.hidden_size)
        self.key = nn.Linear(sizes.encoder_width, sizes.hidden_size)
        self.value = nn.Linear(sizes.encoder_width, sizes.hidden_size)

    def split(self, states: Tensor) -> Tensor:
        """Map (batch, length, hidden) to (batch, heads, length, hidden / heads)."""
        return torch.unflatten(states, -1, (self.heads, -1)).transpose(1, 2)


class Output(nn.Module):
    """A linear map back to the hidden width, the residual sum and its norm."""

    def __init__(self, sizes: BertSizes, width: int) -> None:
        """Make the map from `width`."""
        super().__init__()
        self.dense = nn.Linear(width, sizes.hidden_size)
        self.LayerNorm = nn.LayerNorm(sizes.hidden_size, eps=sizes.layer_norm_eps)

    def forward(self, change: Tensor, states: Tensor) -> Tensor:
        """Add the mapped change to the states and normalise."""
        return self.LayerNorm(self.dense(change) + states)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Attention to the states themselves, or to others."""

    def __init__(self, sizes: BertSizes) -> None:
        """Make projections and output."""
        super().__init__()
        self.self = Projections(sizes)
        self.output = Output(sizes, sizes.hidden_size)

    def forward(self, states: Tensor, mask: Tensor | None = None, others: Tensor | None = None) -> Tensor:
        """Mix what `states` (batch, length, hidden) attend to: `others` (batch, n, encoder) or themselves.

        `mask`, bool, broadcastable to (batch, heads, length, n): True where attending is allowed.
        """
        heads, source = self.self, states if others is None else others
        query = heads.split(heads.query(states))
        key, value = heads.split(heads.key(source)), heads.split(heads.value(source))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.output(mixed.transpose(1, 2).flatten(2), states)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """The second half of a layer: widen, GELU, narrow, add, normalise (state dict: intermediate, output)."""

    def __init__(self, sizes: BertSizes) -> None:
        """Make both maps."""
        super().__init__()
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(sizes.hidden_size, sizes.intermediate_size)})
        self.output = Output(sizes, sizes.intermediate_size)

    def feed_forward(self, states: Tensor) -> Tensor:
        """Apply the half to states (…, hidden)."""
        return self.output(F.gelu(self.intermediate["dense"](states)), states)  # type: ignore[no-any-return]


def allowed(mask: Tensor) -> Tensor:
    """Turn a token mask (batch, n) of ones and zeros into one for attention, (batch, 1, 1, n), bool."""
    return mask.bool()[:, None, None, :]
