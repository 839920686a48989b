"""The language model of Emu3: hidden states, and likelihoods over the codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from silmm_plugins.models._shared.sequences import SequenceModel, slices
from silmm_plugins.models.emu3 import grammar

if TYPE_CHECKING:
    from silmm_plugins.models.emu3.grammar import Codes
    from silmm_plugins.models.emu3.tokenizer import Emu3Tokens


class Emu3LM(SequenceModel):
    """A transformers Emu3 of either layout."""

    def __init__(self, backbone: Any, tokens: Emu3Tokens, *, head_chunk: int) -> None:
        """Wrap a backbone in eval mode.

        Args:
            backbone: Emu3ForCausalLM, or Emu3ForConditionalGeneration.
            tokens: the ids of control and image tokens.
            head_chunk: number of positions whose logits over the codes exist at a time.
        """
        self.backbone = backbone
        self.tokens = tokens
        self.head_chunk = head_chunk

    @property
    def text(self) -> Any:
        """The transformer without its head."""
        return getattr(self.backbone.model, "text_model", self.backbone.model)

    @property
    def text_config(self) -> Any:
        """The configuration of the transformer."""
        return self.text.config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.text.embed_tokens.weight.device
        return device

    def embed(self, ids: Tensor) -> Tensor:
        """Return the embeddings of token ids, (…, hidden)."""
        vectors: Tensor = self.text.embed_tokens(ids)
        return vectors

    def run(self, vectors: Tensor, allowed: Tensor | None, positions: Tensor, cache: Any = None) -> Tensor:
        """Return final hidden states (batch, time, hidden)."""
        bias = None
        if allowed is not None:
            bias = torch.zeros(allowed.shape, dtype=vectors.dtype, device=allowed.device)
            bias = bias.masked_fill_(~allowed, torch.finfo(vectors.dtype).min)[:, None]
        out = self.text(
            inputs_embeds=vectors,
            position_ids=positions,
            attention_mask=bias,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        states: Tensor = out.last_hidden_state
        return states

    def logits(self, states: Tensor) -> Tensor:
        """Return logits over the whole vocabulary, (…, vocabulary), float32."""
        values: Tensor = self.backbone.lm_head(states)
        return values.float()

    def code_logits(self, states: Tensor) -> Tensor:
        """Return logits over the codes alone, (…, codes), float32: the head's rows of the codes."""
        first = self.tokens.visual
        weight: Tensor = self.backbone.lm_head.weight[first : first + self.tokens.codes]
        return torch.nn.functional.linear(states, weight).float()

    def code_log_probabilities(
        self, prefixes: Sequence[Sequence[int]], images: Sequence[Codes]
    ) -> list[Tensor]:
        """Return log pi of each code given everything before it, float32 (rows * columns,) per image.

        The softmax is over the codes, which alone are allowed there (docs/spec/base-models.md 3.7). Sequences are
        padded on the right and attention is causal, so none depends on the length of another.
        """
        tokens = self.tokens
        sequences = [
            [*prefix, *grammar.body(tokens, codes)[:-1]]
            for prefix, codes in zip(prefixes, images, strict=True)
        ]
        states = self.text(input_ids=self._padded(sequences), use_cache=False).last_hidden_state
        predicting = [
            (row, len(prefix) - 1 + position)
            for row, (prefix, codes) in enumerate(zip(prefixes, images, strict=True))
            for position in grammar.code_positions(*codes.shape)
        ]
        rows, times = torch.tensor(predicting, device=states.device).T
        targets = torch.cat([torch.from_numpy(codes.reshape(-1)).long() for codes in images])
        values = self._chosen(states[rows, times], targets.to(states.device))
        return list(values.split_with_sizes([codes.size for codes in images]))

    def _padded(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Return ids (batch, longest), padded on the right."""
        longest = max(map(len, sequences))
        rows = [[*ids, *[self.tokens.pad] * (longest - len(ids))] for ids in sequences]
        return torch.tensor(rows, device=self.device)

    def _chosen(self, states: Tensor, codes: Tensor) -> Tensor:
        """Return the log-probabilities (n,) of codes (n,) at states (n, hidden), a chunk at a time.

        In training a chunk's logits are recomputed in the backward pass: all logits of an image of 720x720 pixels
        are 1.1 GB.
        """
        parts = []
        for rows in slices(len(codes), self.head_chunk):
            chunk = states[rows], codes[rows]
            if torch.is_grad_enabled():
                parts.append(checkpoint(self._chunk, *chunk, use_reentrant=False, preserve_rng_state=False))
            else:
                parts.append(self._chunk(*chunk))
        return torch.cat(parts)

    def _chunk(self, states: Tensor, codes: Tensor) -> Tensor:
        logits = self.code_logits(states)
        return logits.gather(-1, codes[:, None]).squeeze(-1) - logits.logsumexp(-1)
