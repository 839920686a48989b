"""The language model of `tiny-discrete`: :class:`TinyLM` with image codes in its vocabulary.

Its samples are sequences ``<bos> <sample> words | <boi> code_1 … code_64``, one code after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from silmm_plugins.models._shared.sequences import causal
from silmm_plugins.models.tiny.language_model import SPLIT, TinyLM
from silmm_plugins.models.tiny.vocabulary import Vocabulary


class TinyDiscreteLM(TinyLM):
    """A tiny language model with control tokens, words and image codes in one vocabulary."""

    def __init__(
        self, vocabulary: Vocabulary, hidden: int, layers: int, heads: int, mlp: int, codes: int
    ) -> None:
        """Build with random weights."""
        super().__init__(vocabulary, hidden, layers, heads, mlp, codes)
        self.codes = codes
        self.first_code = len(vocabulary)

    def embed_codes(self, codes: Tensor, first: int = 0) -> Tensor:
        """Return input embeddings (batch, time, hidden) of codes; codes[:, 0] is at the grid position `first`."""
        positions = self.places[first : first + codes.shape[1]]
        return self.embed(codes + self.first_code) + positions

    def code_logits(self, states: Tensor) -> Tensor:
        """Return float32 logits over the image codes alone: the tokens that may be sampled."""
        return self.logits_between(states, self.first_code, self.first_code + self.codes)

    def sampling_outputs(
        self, prompts: Sequence[Sequence[int]], codes: Tensor, *, every_layer: bool = False
    ) -> Any:
        """Run prompts and codes with teacher forcing; the last image_length states predict each code."""
        ids, valid, positions = self.prompt_inputs(prompts)
        length = self.image_length
        start = torch.full_like(codes[:, :1], self.vocabulary.boi)
        vectors = torch.cat([self.embed(ids), self.embed(start), self.embed_codes(codes[:, :-1])], 1)
        keys = torch.cat([valid, valid.new_ones(len(prompts), length)], 1)
        mask = causal(keys)
        after = torch.arange(SPLIT, SPLIT + length, device=ids.device).expand(len(prompts), -1)
        return self.hidden(vectors, mask, torch.cat([positions, after], 1), every_layer=every_layer)

    def code_likelihoods(self, out: Any, codes: Tensor) -> Tensor:
        """Return log pi of each code, (batch, image_length), float32, from the outputs of :meth:`sampling_outputs`."""
        logits = self.code_logits(out.last_hidden_state[:, -self.image_length :])
        return logits.log_softmax(-1).gather(-1, codes[..., None]).squeeze(-1)

    def image_prefix(self, codes: Tensor, *, every_layer: bool = False) -> tuple[Any, Any]:
        """Encode images (batch, image_length) once; return the key-value cache and the outputs."""
        return self.encode_images(self.embed_codes(codes), every_layer=every_layer)
