"""A language model whose rows are padded on the left, each with the positions that it would have alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from silmm.contracts.models import SamplingParams
from silmm_plugins.models._shared.token_sampling import pick, streams


class LeftPadded(ABC):
    """What padding and writing need of a language model, and both."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the weights are."""

    @abstractmethod
    def embed(self, ids: Tensor) -> Tensor:
        """Return input embeddings (batch, time, D)."""

    @abstractmethod
    def run(self, vectors: Tensor, allowed: Tensor, positions: Tensor, cache: Any = None) -> Tensor:
        """Return the hidden states after the final norm, (batch, time, D).

        Args:
            vectors: (batch, time, D).
            allowed: boolean (batch, time, keys), true where attention goes.
            positions: (batch, time).
            cache: keys and values of what came before; it grows.
        """

    @abstractmethod
    def logits(self, states: Tensor) -> Tensor:
        """Return float32 logits of the whole vocabulary."""

    @abstractmethod
    def new_cache(self) -> DynamicCache:
        """Return an empty cache of keys and values."""

    def pad_left(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
        """Return embeddings (batch, longest, D), validity and positions (batch, longest)."""
        longest = max(len(row) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        start = torch.tensor([longest - len(row) for row in rows])
        for number, row in enumerate(rows):
            ids[number, longest - len(row) :] = torch.tensor(row)
        positions = (torch.arange(longest) - start[:, None]).to(self.device)
        return self.embed(ids), positions >= 0, positions.clamp(min=0)

    @torch.inference_mode()
    def write(
        self,
        requests: Sequence[Sequence[int]],
        seeds: Sequence[int],
        temperatures: Sequence[float],
        longest: int,
        stop: int,
    ) -> list[list[int]]:
        """Continue each row of ids until `stop`, which is left out, or for `longest` tokens.

        Temperature 0 is greedy; else each row samples from its own seed by inverse sampling.
        """
        vectors, valid, positions = self.pad_left(requests)
        cache = self.new_cache()
        states = self.run(vectors, causal(valid), positions, cache)
        uniform = streams(seeds, longest)
        heat = torch.tensor(temperatures)
        replies: list[list[int]] = [[] for _ in requests]
        going = [True] * len(requests)
        at = positions[:, -1:]
        for step in range(longest):
            scores = self.logits(states[:, -1]).cpu()
            sampled = pick(scores / heat[:, None].clamp(min=1e-6), uniform[:, step], SamplingParams())
            chosen = torch.where(heat == 0, scores.argmax(-1), sampled)
            for row, token in enumerate(chosen.tolist()):
                going[row] = going[row] and token != stop
                if going[row]:
                    replies[row].append(token)
            if not any(going):
                break
            at = at + 1
            valid = torch.cat([valid, valid.new_ones(len(requests), 1)], 1)
            states = self.run(self.embed(chosen[:, None]), valid[:, None], at, cache)
        return replies


def causal(valid: Tensor) -> Tensor:
    """Return (batch, time, time): each position sees the valid ones up to it, and always itself."""
    time = valid.shape[1]
    past = torch.ones(time, time, dtype=torch.bool, device=valid.device).tril()
    itself = torch.eye(time, dtype=torch.bool, device=valid.device)
    return past & (valid[:, None] | itself)
