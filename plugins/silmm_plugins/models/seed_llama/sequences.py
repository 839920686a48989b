"""Running the language model: prompts of unequal length, a cache, and heads over some rows alone.

Padding never changes a number: behind a sequence it is out of sight of a causal model, and in front of it
it is masked and does not count as a position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache


class Running:
    """Sequences under way: a cache, and the state at the last token of each."""

    def __init__(self, backbone: Any, prompts: Sequence[Sequence[int]]) -> None:
        """Read prompts of token ids, padded on the left."""
        self._backbone = backbone
        width = max(map(len, prompts))
        rows = [[0] * (width - len(p)) + list(p) for p in prompts]
        valid = [[0] * (width - len(p)) + [1] * len(p) for p in prompts]
        self._mask = torch.tensor(valid, device=backbone.device)
        self._cache: Any = DynamicCache(config=backbone.config)
        positions = (self._mask.cumsum(-1) - 1).clamp(min=0)
        self._next = positions[:, -1] + 1
        self.state: Tensor = self._run(torch.tensor(rows, device=backbone.device), positions)
        """Final hidden state of each sequence's last token, (batch, width)."""

    def spread(self, owners: Sequence[int]) -> None:
        """Go on with the sequences `owners` names, each as often as it stands there."""
        index = torch.tensor(owners)  # on the CPU: layers may be on several devices
        self._cache.batch_select_indices(index)
        self._mask, self._next, self.state = self._mask[index], self._next[index], self.state[index]

    def step(self, tokens: Tensor) -> None:
        """Append a token, (batch,), to each sequence."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], 1)
        self.state = self._run(tokens[:, None], self._next[:, None])
        self._next = self._next + 1

    def _run(self, ids: Tensor, positions: Tensor) -> Tensor:
        out = self._backbone.model(
            input_ids=ids, attention_mask=self._mask, position_ids=positions, past_key_values=self._cache,
            use_cache=True,
        )
        last: Tensor = out.last_hidden_state[:, -1]
        return last


class Prefix:
    """Beginnings of equal length, read once, that many sequences go on from."""

    def __init__(self, backbone: Any, beginnings: Sequence[Sequence[int]]) -> None:
        """Read the beginnings, token ids (batch, length)."""
        self._backbone = backbone
        ids = torch.tensor(beginnings, device=backbone.device)
        self._length = ids.shape[1]
        self._cache: Any = DynamicCache(config=backbone.config)
        backbone.model(input_ids=ids, past_key_values=self._cache, use_cache=True)

    def last_states(self, owners: Sequence[int], endings: Sequence[Sequence[int]]) -> Tensor:
        """Return the final hidden state of each ending's last token, (endings, width).

        Args:
            owners: the beginning of each ending.
            endings: token ids.
        """
        device = self._backbone.device
        index = torch.tensor(owners)  # on the CPU: layers may be on several devices
        cache: Any = DynamicCache(config=self._backbone.config)
        for number, layer in enumerate(self._cache.layers):
            cache.update(layer.keys[index], layer.values[index], number)
        ids, last = _right_padded(endings, device)
        positions = torch.arange(self._length, self._length + ids.shape[1], device=device)
        out = self._backbone.model(
            input_ids=ids, position_ids=positions.expand(len(ids), -1), past_key_values=cache, use_cache=True
        )
        states: Tensor = out.last_hidden_state[torch.arange(len(ids), device=device), last]
        return states


def following_states(backbone: Any, prompts: Sequence[Sequence[int]], tokens: Tensor) -> Tensor:
    """Return the states that predict `tokens` (batch, length) behind prompts: (batch, length, width)."""
    rows = [[*prompt, *given] for prompt, given in zip(prompts, tokens.tolist(), strict=True)]
    ids, last = _right_padded(rows, backbone.device)
    states = backbone.model(input_ids=ids, use_cache=False).last_hidden_state
    length = tokens.shape[1]
    places = last[:, None] + torch.arange(-length, 0, device=last.device)
    found: Tensor = states[torch.arange(len(ids), device=ids.device)[:, None], places]
    return found


def head(backbone: Any, states: Tensor, rows: slice = slice(None)) -> Tensor:
    """Return float32 logits over some rows of the vocabulary, (…, rows)."""
    return F.linear(states, backbone.lm_head.weight[rows]).float()


def _right_padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ids (batch, longest), padded with 0, and the place of each row's last token."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *([0] * (longest - len(row)))] for row in rows], device=device)
    return ids, torch.tensor([len(row) - 1 for row in rows], device=device)
