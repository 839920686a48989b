"""The language model of SEED-LLaMA: a Llama, with logits over some rows of its vocabulary alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from silmm_plugins.models._shared.sequences import SequenceModel


class SeedLM(SequenceModel):
    """LlamaForCausalLM, which peft may change in place."""

    def __init__(self, backbone: Any) -> None:
        """Wrap the transformers model."""
        self.backbone = backbone

    @property
    def transformer(self) -> Any:
        """The transformer without its head."""
        return self.backbone.model

    def logits(self, states: Tensor) -> Tensor:
        """Return float32 logits over the whole vocabulary."""
        return self.logits_of(states, slice(None))

    def logits_of(self, states: Tensor, rows: slice) -> Tensor:
        """Return float32 logits over some rows of the vocabulary, (…, rows)."""
        return F.linear(states, self.backbone.lm_head.weight[rows]).float()

    def following_states(self, prompts: Sequence[Sequence[int]], tokens: Tensor) -> Tensor:
        """Return the states that predict `tokens` (batch, length) behind prompts: (batch, length, hidden).

        Rows are padded on the right, out of sight of a causal model.
        """
        rows = [[*prompt, *ids] for prompt, ids in zip(prompts, tokens.tolist(), strict=True)]
        longest, length = max(map(len, rows)), tokens.shape[1]
        ids = torch.tensor([[*row, *([0] * (longest - len(row)))] for row in rows], device=self.device)
        states = self.transformer(input_ids=ids, use_cache=False).last_hidden_state
        ends = torch.tensor([len(row) - 1 for row in rows], device=states.device)
        predicting = ends[:, None] + torch.arange(-length, 0, device=states.device)
        following: Tensor = states[torch.arange(len(rows), device=states.device)[:, None], predicting]
        return following
