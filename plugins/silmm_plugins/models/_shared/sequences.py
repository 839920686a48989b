"""Causal language models on token ids: padding on the left, and sequences that grow over one key-value cache.

Each row of a batch has the positions that it would have alone, and padding is never attended to: a row does not
depend on its neighbours (promise 4 of the design).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, StaticCache

from silmm.checkpoint.devices import device_of


class SequenceModel(ABC):
    """A language model as decoding and answering use it: a transformer of transformers with a head."""

    @property
    @abstractmethod
    def transformer(self) -> Any:
        """The transformer without its head, perhaps changed in place by peft."""

    @abstractmethod
    def logits(self, states: Tensor) -> Tensor:
        """Return float32 logits over the text vocabulary, (…, vocabulary)."""

    @property
    def device(self) -> torch.device:
        """Where the model takes its inputs."""
        return device_of(self.transformer)

    @property
    def longest(self) -> int:
        """The number of positions that the model was made for."""
        return int(self.transformer.config.max_position_embeddings)

    def embed(self, ids: Tensor) -> Tensor:
        """Return the input embeddings of token ids, (…, D)."""
        vectors: Tensor = self.transformer.get_input_embeddings()(ids.to(self.device))
        return vectors

    def run(self, vectors: Tensor, allowed: Tensor | None, positions: Tensor, cache: Any = None) -> Tensor:
        """Return the hidden states after the final norm, (batch, time, D).

        Args:
            vectors: input embeddings, (batch, time, D).
            allowed: boolean (batch, time, keys), true where a position attends to a key; None is causal attention
                without padding or earlier keys.
            positions: (batch, time).
            cache: keys and values of earlier positions, as :meth:`new_cache` makes it; it grows.
        """
        out = self.transformer(
            inputs_embeds=vectors,
            attention_mask=None if allowed is None else self.attention_mask(allowed, vectors.dtype),
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        states: Tensor = out.last_hidden_state
        return states

    def attention_mask(self, allowed: Tensor, dtype: torch.dtype) -> Tensor:  # noqa: ARG002 - for models with a bias
        """Return the transformer's mask, (batch, 1, time, keys)."""
        return allowed[:, None]

    def new_cache(self, length: int = 0) -> Any:
        """Return an empty cache of keys and values: of a fixed length, or with length 0 one that grows."""
        if length:
            return StaticCache(config=self.transformer.config, max_cache_len=length)
        return DynamicCache(config=self.transformer.config)

    def pad_left(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
        """Return embeddings (batch, longest, D), validity and positions (batch, longest) of rows of token ids."""
        longest = max(map(len, rows))
        ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows])
        start = torch.tensor([longest - len(row) for row in rows])
        positions = (torch.arange(longest) - start[:, None]).to(self.device)
        return self.embed(ids), positions >= 0, positions.clamp(min=0)


def causal(valid: Tensor) -> Tensor:
    """Return (batch, time, time): each position attends to the valid ones up to it, and always to itself."""
    time = valid.shape[1]
    past = torch.ones(time, time, dtype=torch.bool, device=valid.device).tril()
    itself = torch.eye(time, dtype=torch.bool, device=valid.device)
    return past & (valid[:, None] | itself)


class Decoding:
    """Sequences of unequal length that grow together by one position per step."""

    states: Tensor
    """Hidden states (batch, D) that predict the next tokens."""

    def __init__(self, model: SequenceModel, prompts: Sequence[Sequence[int]], room: int = 0) -> None:
        """Read prompts of token ids.

        Args:
            model: the language model.
            prompts: at least one, none of them empty.
            room: the number of positions that follow, for a cache of fixed length: much quicker where many do. With
                0 the cache grows, and sequences may be selected.
        """
        self._model, self._room = model, room
        vectors, self._valid, positions = model.pad_left(prompts)
        time = self._valid.shape[1]
        self._cache = model.new_cache(time + room if room else 0)
        allowed = causal(self._valid)
        if room:
            allowed = torch.nn.functional.pad(allowed, (0, room))
            self._valid = torch.nn.functional.pad(self._valid, (0, room))
        self._end = time
        self._position = positions[:, -1:]
        self.states = model.run(vectors, allowed, positions, self._cache)[:, -1]

    def step(self, vectors: Tensor) -> None:
        """Append one position to each sequence: its input embedding, (batch, D)."""
        if self._room:
            self._valid[:, self._end] = True
        else:
            self._valid = torch.nn.functional.pad(self._valid, (0, 1), value=True)
        self._end += 1
        self._position = self._position + 1
        self.states = self._model.run(vectors[:, None], self._valid[:, None], self._position, self._cache)[:, -1]

    def select(self, rows: Sequence[int]) -> None:
        """Go on with the sequences of these numbers, each as often as it stands there; needs a cache that grows."""
        index = torch.tensor(rows)  # on the CPU: layers may be on several devices
        self._cache.batch_select_indices(index)
        self._valid, self._position, self.states = self._valid[index], self._position[index], self.states[index]


def slices(count: int, size: int) -> Iterator[slice]:
    """Yield slices of at most `size` that cover `count` rows."""
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))
