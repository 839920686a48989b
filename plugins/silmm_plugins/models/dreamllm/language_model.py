"""DreamLLM's language model on ids and vectors: features, answers about images, and text.

Stock Llama. Every sequence has the positions that it would have alone: prompts are padded on the left under a
mask, with their own position ids, so that nothing stands between a prompt and the queries. The original pads
on the right instead, where H of a short prompt depends on the longest of its batch (docs/spec/base-models.md 1.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from silmm.checkpoint.networks import empty_network, fill, refuse_unknown
from silmm.checkpoint.weight_files import read_pickle, read_weights, weight_files
from silmm.errors import DataError
from silmm_plugins.models._shared.sequences import SequenceModel, causal
from silmm_plugins.models._shared.spreading import Spread
from silmm_plugins.models.dreamllm.checkpoint import DREAM

_KEYS = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "hidden_act", "max_position_embeddings", "rms_norm_eps", "rope_theta"),
    *("rope_scaling", "attention_bias", "bos_token_id", "eos_token_id"),
)


class DreamLM(SequenceModel):
    """The backbone with its learnable queries."""

    def __init__(self, backbone: nn.Module, queries: Tensor) -> None:
        """Wrap them; `queries` is (L, D)."""
        self.backbone = backbone
        self.queries = queries

    @classmethod
    def load(
        cls, folder: Path, config: Mapping[str, Any], devices: Sequence[torch.device], dtype: torch.dtype
    ) -> DreamLM:
        """Load the language model's weights and `dream_embedding.bin`; put it on its devices.

        Raises:
            DataError: a file is missing, damaged, or does not fit config.json.
        """
        options = LlamaConfig(
            **{key: config[key] for key in _KEYS if config.get(key) is not None},
            tie_word_embeddings=False,
            attn_implementation="sdpa",
        )
        network: Any = empty_network(lambda: LlamaForCausalLM(options))
        unknown = fill(network, read_weights(weight_files(folder)), folder, dtype=dtype)
        refuse_unknown(folder, "LLaMA", (name for name in unknown if not name.endswith("rotary_emb.inv_freq")))
        path = folder / f"{DREAM}.bin"
        queries = read_pickle(path).get("dream_queries")
        if queries is None or queries.dim() != 3 or queries.shape[::2] != (1, options.hidden_size):
            raise DataError(
                f"{path}: expected dream_queries of the shape (1, queries, {options.hidden_size}), found "
                f"{'none' if queries is None else tuple(queries.shape)}"
            )
        Spread(network, network.model, devices).to(devices[0])
        return cls(network, queries[0].to(devices[0], dtype))

    @property
    def text_config(self) -> Any:
        """The configuration of the transformer."""
        return self.backbone.config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.queries.device

    def embed(self, ids: Tensor) -> Tensor:
        """Return input embeddings (batch, time, D)."""
        base: Any = self.backbone
        vectors: Tensor = base.get_input_embeddings()(ids.to(self.device))
        return vectors

    def run(self, vectors: Tensor, allowed: Tensor | None, positions: Tensor, cache: Any = None) -> Tensor:
        """Return the hidden states after the final norm, (batch, time, D)."""
        base: Any = self.backbone
        out = base.model(
            inputs_embeds=vectors,
            attention_mask=None if allowed is None else allowed[:, None],
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        states: Tensor = out.last_hidden_state
        return states

    def logits(self, states: Tensor) -> Tensor:
        """Return float32 logits of the whole vocabulary."""
        base: Any = self.backbone
        logits: Tensor = base.lm_head(states)
        return logits.float()

    def features(self, prompts: Sequence[Sequence[int]], offsets: Tensor | None = None) -> Tensor:
        """Return H, (batch, L, D): the states behind the queries, after the final norm.

        Args:
            prompts: ids up to and with <dream_start>.
            offsets: added to the queries, (batch, L, D); None is none.
        """
        words, valid, positions = self.pad_left(prompts)
        length = len(self.queries)
        queries = self.queries.expand(len(prompts), -1, -1)
        if offsets is not None:
            queries = queries + offsets.to(queries)
        behind = positions[:, -1:] + 1 + torch.arange(length, device=self.device)
        keys = torch.cat([valid, valid.new_ones(len(prompts), length)], 1)
        states = self.run(torch.cat([words, queries], 1), causal(keys), torch.cat([positions, behind], 1))
        return states[:, -length:]
