"""The question encoder of mPLUG: a plain BERT encoder."""

from __future__ import annotations

from torch import Tensor, nn

from silmm_benchmarks.judges.mplug.bert import Attention, Embeddings, FeedForward, allowed
from silmm_benchmarks.judges.mplug.config import BertSizes


class TextLayer(FeedForward):
    """Self-attention and feed-forward."""

    def __init__(self, sizes: BertSizes) -> None:
        """Make the layer."""
        super().__init__(sizes)
        self.attention = Attention(sizes)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Map states (batch, length, hidden) to the next."""
        return self.feed_forward(self.attention(states, mask))


class TextEncoder(nn.Module):
    """Encodes questions (state dict: text_encoder)."""

    def __init__(self, sizes: BertSizes) -> None:
        """Make embeddings and layers."""
        super().__init__()
        self.embeddings = Embeddings(sizes)
        layers = nn.ModuleList(TextLayer(sizes) for _ in range(sizes.text_encoder_layers))
        self.encoder = nn.ModuleDict({"layer": layers})

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Map tokens and mask, both (questions, length), to states (questions, length, hidden)."""
        states: Tensor = self.embeddings(tokens)
        for layer in self.encoder["layer"].children():
            states = layer(states, allowed(mask))
        return states
