"""The language model of SEED-LLaMA: a Llama, with logits over some rows of its vocabulary alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from silmm.checkpoint.devices import device_of
from silmm_plugins.models._shared.sequences import SequenceModel


class SeedLM(SequenceModel):
    """LlamaForCausalLM, which peft may change in place."""

    def __init__(self, backbone: Any) -> None:
        """Wrap the transformers model."""
        self.backbone = backbone

    @property
    def device(self) -> torch.device:
        """Where the model takes its inputs."""
        return device_of(self.backbone)

    @property
    def text_config(self) -> Any:
        """The configuration of the transformer."""
        return self.backbone.config

    def embed(self, ids: Tensor) -> Tensor:
        """Return the embeddings of token ids, (…, hidden)."""
        vectors: Tensor = self.backbone.get_input_embeddings()(ids)
        return vectors

    def run(self, vectors: Tensor, allowed: Tensor | None, positions: Tensor, cache: Any = None) -> Tensor:
        """Return final hidden states (batch, time, hidden)."""
        out = self.backbone.model(
            inputs_embeds=vectors,
            attention_mask=None if allowed is None else allowed[:, None],
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        states: Tensor = out.last_hidden_state
        return states

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
        states = self.backbone.model(input_ids=ids, use_cache=False).last_hidden_state
        ends = torch.tensor([len(row) - 1 for row in rows], device=states.device)
        predicting = ends[:, None] + torch.arange(-length, 0, device=states.device)
        following: Tensor = states[torch.arange(len(rows), device=states.device)[:, None], predicting]
        return following
