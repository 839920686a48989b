"""The answer decoder of mPLUG, one token at a time for all beams of all questions."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from silmm_benchmarks.judges.mplug.bert import Attention, Embeddings, FeedForward, Output, Projections
from silmm_benchmarks.judges.mplug.config import BertSizes

Past = tuple[Tensor, Tensor]
"""Keys and values of the tokens so far, each (questions, beams, heads, tokens, hidden / heads)."""


class StepAttention(Attention):
    """Self-attention of one new token to the tokens before it and itself."""

    def step(self, states: Tensor, past: Past | None) -> tuple[Tensor, Past]:
        """Map the new token's states (questions, beams, hidden), and extend its beam's past."""
        heads = self.self
        query, key, value = (
            torch.unflatten(linear(states), -1, (heads.heads, 1, -1))
            for linear in (heads.query, heads.key, heads.value)
        )
        if past is not None:
            key, value = torch.cat([past[0], key], dim=-2), torch.cat([past[1], value], dim=-2)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.output(mixed.flatten(2), states), (key, value)


class ReadingAttention(nn.Module):
    """Cross-attention that reads the fused states themselves, without making keys and values of them.

    With W_k, b_k, W_v, b_v of a head: q · (W_k m + b_k) = (q W_k) · m + const, and the constant leaves
    the softmax as it is; and sum_i p_i (W_v m_i + b_v) = W_v (sum_i p_i m_i) + b_v. An answer has a few
    tokens and an image has 1,297, so that mapping the queries is less work than mapping the states, and
    nothing is stored for each layer. Beams of a question share its states.
    """

    def __init__(self, sizes: BertSizes) -> None:
        """Make projections and output."""
        super().__init__()
        self.self = Projections(sizes)
        self.output = Output(sizes, sizes.hidden_size)

    def forward(self, states: Tensor, fused: Tensor, hidden: Tensor) -> Tensor:
        """Map states (questions, beams, hidden) that read `fused` (questions, n, encoder).

        `hidden`, bool (questions, 1, n): True at padding.
        """
        heads = self.self
        query = torch.unflatten(heads.query(states), -1, (heads.heads, -1))
        key, value = (
            torch.unflatten(linear.weight, 0, (heads.heads, -1)) for linear in (heads.key, heads.value)
        )
        asked = torch.einsum("qbhd,hde->qhbe", query, key) / math.sqrt(query.shape[-1])
        scores = asked.flatten(1, 2) @ fused.transpose(1, 2)
        weights = scores.masked_fill(hidden, -math.inf).softmax(dim=-1)
        read = torch.unflatten(weights @ fused, 1, (heads.heads, -1))
        mixed = torch.einsum("qhbe,hde->qbhd", read, value).flatten(2) + heads.value.bias
        return self.output(mixed, states)  # type: ignore[no-any-return]


class DecoderLayer(FeedForward):
    """Self-attention, reading, feed-forward."""

    def __init__(self, sizes: BertSizes) -> None:
        """Make the layer."""
        super().__init__(sizes)
        self.attention = StepAttention(sizes)
        self.crossattention = ReadingAttention(sizes)

    def step(self, states: Tensor, past: Past | None, fused: Tensor, hidden: Tensor) -> tuple[Tensor, Past]:
        """Map the new token's states (questions, beams, hidden)."""
        own, past = self.attention.step(states, past)
        return self.feed_forward(self.crossattention(own, fused, hidden)), past


class PredictionHead(nn.Module):
    """Maps states to logits over the vocabulary (state dict: cls.predictions)."""

    def __init__(self, sizes: BertSizes) -> None:
        """Make the transform and the output matrix, which is not tied to the embeddings."""
        super().__init__()
        self.transform = nn.ModuleDict({
            "dense": nn.Linear(sizes.hidden_size, sizes.hidden_size),
            "LayerNorm": nn.LayerNorm(sizes.hidden_size, eps=sizes.layer_norm_eps),
        })
        self.decoder = nn.Linear(sizes.hidden_size, sizes.vocab_size)

    def forward(self, states: Tensor) -> Tensor:
        """Map states (…, hidden) to logits (…, vocabulary)."""
        inner = self.transform["LayerNorm"](F.gelu(self.transform["dense"](states)))
        return self.decoder(inner)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Writes answers from what the fusion encoder gives (state dict: text_decoder)."""

    def __init__(self, sizes: BertSizes) -> None:
        """Make embeddings, layers and the prediction head."""
        super().__init__()
        layers = nn.ModuleList(DecoderLayer(sizes) for _ in range(sizes.text_decode_layers))
        encoder = nn.ModuleDict({"layer": layers})
        self.bert = nn.ModuleDict({"embeddings": Embeddings(sizes), "encoder": encoder})
        self.cls = nn.ModuleDict({"predictions": PredictionHead(sizes)})

    @property
    def layers(self) -> list[DecoderLayer]:
        """The layers, first to last."""
        return cast("list[DecoderLayer]", list(self.bert.get_submodule("encoder.layer").children()))


class Decoding:
    """A decoder at work on some questions: what they read, and the past of their beams."""

    def __init__(self, decoder: Decoder, fused: Tensor, mask: Tensor) -> None:
        """Start with `fused` (questions, n, hidden) and its mask (questions, n) of ones and zeros."""
        self._decoder = decoder
        self._fused, self._hidden = fused, ~mask.bool()[:, None, :]
        self._past: list[Past | None] = [None] * len(decoder.layers)
        self._length = 0

    @property
    def questions(self) -> int:
        """How many questions are still being answered."""
        return len(self._fused)

    @property
    def device(self) -> torch.device:
        """Where it works."""
        return self._fused.device

    def logits(self, tokens: Tensor) -> Tensor:
        """Take each beam's next token (questions, beams) and return logits (questions, beams, vocabulary)."""
        decoder = self._decoder
        states: Tensor = decoder.bert["embeddings"](tokens.unsqueeze(-1), self._length).squeeze(2)
        for number, layer in enumerate(decoder.layers):
            states, self._past[number] = layer.step(states, self._past[number], self._fused, self._hidden)
        self._length += 1
        return decoder.cls["predictions"](states).float()  # type: ignore[no-any-return]

    def keep(self, questions: Tensor, parents: Tensor) -> None:
        """Go on with some questions; their beams continue `parents` (len(questions), beams)."""
        if len(questions) < self.questions:
            self._fused, self._hidden = self._fused[questions], self._hidden[questions]
        rows = questions[:, None]
        self._past = [
            None if past is None else (past[0][rows, parents], past[1][rows, parents]) for past in self._past
        ]
