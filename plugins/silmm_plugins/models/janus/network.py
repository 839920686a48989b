"""The transformers network of Janus as the adapter uses it: vectors in, hidden states and logits out.

Sequences of unequal length are padded on the left; padding is never seen, and rotary positions count from
each sequence's own first token, so that a row does not depend on its neighbours (promise 4 of the design).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize


def pad_left(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ids and validity, both (batch, longest), of rows of token ids; padding stands on the left."""
    longest = max(map(len, rows))
    ids = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return ids, torch.arange(longest, device=device) >= longest - lengths[:, None]


def positions_of(valid: Tensor) -> Tensor:
    """Return rotary positions (batch, time) that count each row's valid tokens from 0."""
    return (valid.long().cumsum(-1) - 1).clamp(min=0)


def causal(valid: Tensor, first: int, last: int) -> Tensor:
    """Return the mask (batch, 1, last - first, time) of the queries at [first, last) over all keys.

    True where a query sees a key: a valid one that is not later. A padded query sees itself, so that no row
    of the softmax is empty.
    """
    queries = torch.arange(first, last, device=valid.device)[:, None]
    keys = torch.arange(valid.shape[1], device=valid.device)
    return (((keys <= queries) & valid[:, None, :]) | (keys == queries))[:, None]


class Network:
    """`JanusForConditionalGeneration` seen as a decoder between two vocabularies."""

    def __init__(self, stock: Any) -> None:
        """Wrap the transformers model, which peft may change in place."""
        self.stock = stock
        self.text_config = stock.config.text_config
        self.image_length = int(stock.config.vq_config.num_patches) ** 2
        self.codes = int(stock.config.vq_config.num_embeddings)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        found: torch.device = self.stock.lm_head.weight.device
        return found

    @property
    def dtype(self) -> torch.dtype:
        """The type of the language model's weights."""
        found: torch.dtype = self.stock.lm_head.weight.dtype
        return found

    def embed(self, ids: Tensor) -> Tensor:
        """Return the embeddings of text tokens, (…, hidden)."""
        vectors: Tensor = self.stock.model.language_model.embed_tokens(ids)
        return vectors

    def embed_codes(self, codes: Tensor) -> Tensor:
        """Return the embeddings of image codes as the language model reads them, (…, hidden)."""
        vectors: Tensor = self.stock.prepare_embeddings_for_image_generation(codes)
        return vectors

    def hidden(self, vectors: Tensor, mask: Tensor | None, positions: Tensor, cache: Any = None) -> Tensor:
        """Return final hidden states (batch, time, hidden).

        Args:
            vectors: (batch, time, hidden).
            mask: as :func:`causal` returns it; None is causal without padding, which is quicker.
            positions: (batch, time).
            cache: keys and values of what came before; empty or none where `mask` is None. It grows.
        """
        out = self.stock.model.language_model(
            inputs_embeds=vectors,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        states: Tensor = out.last_hidden_state
        return states

    def image_logits(self, states: Tensor) -> Tensor:
        """Return the generation head's logits over image codes, float32 (…, codes)."""
        logits: Tensor = self.stock.model.generation_head(states)
        return logits.float()

    def text_logits(self, states: Tensor) -> Tensor:
        """Return the logits over the text vocabulary, float32 (…, vocabulary)."""
        logits: Tensor = self.stock.lm_head(states)
        return logits.float()

    def look(self, pixels: Tensor) -> Tensor:
        """Return the embeddings (N, image tokens, hidden) of pixel values (N, 3, side, side)."""
        out = self.stock.model.get_image_features(pixels.to(self.device, self.dtype))
        vectors: Tensor = out.pooler_output
        return vectors

    def code(self, pixels: Tensor) -> Tensor:
        """Return the image codes (N, image_length) nearest to pixel values (N, 3, side, side) in -1 to 1.

        Nearest in angle, as the original code looks for them; transformers' own `encode` leaves the
        normalisation out and finds others.
        """
        coder = self.stock.model.vqmodel
        states = coder.quant_conv(coder.encoder(pixels)).flatten(2).movedim(1, -1)
        likeness = normalize(states, dim=-1) @ normalize(coder.quantize.embedding.weight, dim=-1).T
        codes: Tensor = likeness.argmax(-1)
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Return images (N, 3, side, side), about -1 to 1, of image codes (N, image_length)."""
        pixels: Tensor = self.stock.model.vqmodel.decode(codes)
        return pixels
