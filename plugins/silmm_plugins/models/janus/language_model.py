"""The transformers network of Janus as the adapter uses it: vectors in, hidden states and logits out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from silmm_plugins.models._shared.sequences import SequenceModel


class JanusNetwork(SequenceModel):
    """`JanusForConditionalGeneration` as a decoder between two vocabularies."""

    def __init__(self, stock: Any) -> None:
        """Wrap the transformers model, which peft may change in place."""
        self.stock = stock
        self.image_length = int(stock.config.vq_config.num_patches) ** 2
        self.codes = int(stock.config.vq_config.num_embeddings)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.stock.lm_head.weight.device
        return device

    @property
    def text_config(self) -> Any:
        """The configuration of the language model."""
        return self.stock.config.text_config

    def embed(self, ids: Tensor) -> Tensor:
        """Return the embeddings of text tokens, (…, hidden)."""
        vectors: Tensor = self.stock.model.language_model.embed_tokens(ids)
        return vectors

    def embed_codes(self, codes: Tensor) -> Tensor:
        """Return the embeddings of image codes as the language model reads them, (…, hidden)."""
        vectors: Tensor = self.stock.prepare_embeddings_for_image_generation(codes)
        return vectors

    def run(self, vectors: Tensor, allowed: Tensor | None, positions: Tensor, cache: Any = None) -> Tensor:
        """Return final hidden states (batch, time, hidden)."""
        out = self.stock.model.language_model(
            inputs_embeds=vectors,
            attention_mask=None if allowed is None else allowed[:, None],
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        states: Tensor = out.last_hidden_state
        return states

    def code_logits(self, states: Tensor) -> Tensor:
        """Return the generation head's logits over image codes, float32 (…, codes)."""
        logits: Tensor = self.stock.model.generation_head(states)
        return logits.float()

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits over the text vocabulary, float32 (…, vocabulary)."""
        logits: Tensor = self.stock.lm_head(states)
        return logits.float()

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Return the embeddings (N, image tokens, hidden) of pixel values (N, 3, side, side)."""
        out = self.stock.model.get_image_features(pixels.to(self.device, self.stock.lm_head.weight.dtype))
        vectors: Tensor = out.pooler_output
        return vectors

    def code(self, pixels: Tensor) -> Tensor:
        """Return the image codes (N, image_length) nearest to pixel values (N, 3, side, side) in -1 to 1.

        Nearest in angle, as in the original code; transformers' own `encode` leaves the normalisation out and
        returns others.
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
