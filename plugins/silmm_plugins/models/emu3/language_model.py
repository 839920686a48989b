"""The language model of Emu3: hidden states, likelihoods over the codes, and decoding with a cache."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from silmm_plugins.models.emu3 import grammar

if TYPE_CHECKING:
    from silmm_plugins.models.emu3.grammar import Codes
    from silmm_plugins.models.emu3.tokens import Tokens


class LanguageModel:
    """A transformers Emu3 of either layout behind one set of functions."""

    def __init__(self, backbone: Any, tokens: Tokens, *, head_chunk: int) -> None:
        """Wrap a backbone in eval mode.

        Args:
            backbone: Emu3ForCausalLM, or Emu3ForConditionalGeneration.
            tokens: the ids of control and image tokens.
            head_chunk: positions whose logits over the codes exist at a time.
        """
        self.backbone = backbone
        self.tokens = tokens
        self.head_chunk = head_chunk

    @property
    def text(self) -> Any:
        """The transformer without its head."""
        return getattr(self.backbone.model, "text_model", self.backbone.model)

    @property
    def positions(self) -> int:
        """The longest sequence that the model was made for."""
        longest: int = self.text.config.max_position_embeddings
        return longest

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        place: torch.device = self.text.embed_tokens.weight.device
        return place

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
        """Return log pi of each code given what is before it, float32 (rows * columns,) an image.

        The softmax is over the codes, which are all that may stand there (docs/spec/base-models.md 3.7). Rows
        are padded on the right and attention is causal, so no sequence sees another's length.
        """
        tokens = self.tokens
        sequences = [
            [*prefix, *grammar.body(tokens, codes)[:-1]]
            for prefix, codes in zip(prefixes, images, strict=True)
        ]
        states = self.text(input_ids=self.padded(sequences), use_cache=False).last_hidden_state
        places = [
            (row, len(prefix) - 1 + place)
            for row, (prefix, codes) in enumerate(zip(prefixes, images, strict=True))
            for place in grammar.visual_places(*codes.shape)
        ]
        rows, times = torch.tensor(places, device=states.device).T
        targets = torch.cat([torch.from_numpy(codes.reshape(-1)).long() for codes in images])
        values = self._chosen(states[rows, times], targets.to(states.device))
        return list(values.split_with_sizes([codes.size for codes in images]))

    def padded(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Return ids (batch, longest), padded on the right."""
        longest = max(len(one) for one in sequences)
        rows = [[*one, *[self.tokens.pad] * (longest - len(one))] for one in sequences]
        return torch.tensor(rows, device=self.device)

    def _chosen(self, states: Tensor, codes: Tensor) -> Tensor:
        """Return the log-probabilities (n,) of codes (n,) at states (n, hidden), a chunk at a time.

        In training a chunk's logits are made again in the backward pass: of a 720 pixel image all of
        them would be 1.1 GB.
        """
        parts = []
        for rows in runs(len(codes), self.head_chunk):
            some, wanted = states[rows], codes[rows]
            if torch.is_grad_enabled():
                part = checkpoint(self._chunk, some, wanted, use_reentrant=False, preserve_rng_state=False)
            else:
                part = self._chunk(some, wanted)
            parts.append(part)
        return torch.cat(parts)

    def _chunk(self, states: Tensor, codes: Tensor) -> Tensor:
        logits = self.code_logits(states)
        return logits.gather(-1, codes[:, None]).squeeze(-1) - logits.logsumexp(-1)


class Decoding:
    """Sequences of unequal length that grow together by a token a step, in one key-value cache.

    They are padded on the left; padding is never attended to and does not count as a position.
    """

    def __init__(self, model: LanguageModel, prefixes: Sequence[Sequence[int]], steps: int) -> None:
        """Read the prefixes; `steps` is how many tokens may follow."""
        from transformers import StaticCache

        self._text = model.text
        longest = max(len(prefix) for prefix in prefixes)
        pads = [longest - len(prefix) for prefix in prefixes]
        device = model.device
        ids = torch.tensor(
            [[model.tokens.pad] * pad + list(prefix) for pad, prefix in zip(pads, prefixes, strict=True)],
            device=device,
        )
        self._cache = StaticCache(config=self._text.config, max_cache_len=longest + steps)
        self._next = longest
        self._pads = torch.tensor(pads, device=device)
        time = torch.arange(longest + steps, device=device)
        own = time[:longest, None]
        seen = (time >= self._pads[:, None])[:, None] & (time <= own) | (time == own)
        self._dtype = self._text.embed_tokens.weight.dtype
        self.states = self._run(ids, (own.T - self._pads[:, None]).clamp(min=0), seen)
        """Hidden states (batch, hidden) that predict the next tokens."""
        self._seen = (time >= self._pads[:, None]) & (time < longest)

    def step(self, tokens: Tensor) -> None:
        """Append one token (batch,) to each sequence."""
        self._seen[:, self._next] = True
        places = (self._next - self._pads)[:, None]
        self._next += 1
        self.states = self._run(tokens[:, None], places, self._seen[:, None])

    def _run(self, ids: Tensor, places: Tensor, seen: Tensor) -> Tensor:
        bias = torch.zeros(seen.shape, dtype=self._dtype, device=seen.device)
        bias.masked_fill_(~seen, torch.finfo(self._dtype).min)
        out = self._text(
            input_ids=ids,
            position_ids=places,
            attention_mask=bias[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )
        states: Tensor = out.last_hidden_state[:, -1]
        return states


def runs(count: int, size: int) -> list[slice]:
    """Return slices of at most `size` that cover `count` rows."""
    return [slice(end - size, min(end, count)) for end in accumulate([size] * -(-count // size))]
