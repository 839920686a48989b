"""Sampling image codes one after another, each sequence from its own stream of random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import StaticCache

from silmm.contracts.models import SamplingParams
from silmm_plugins.models._shared.token_sampling import pick, streams
from silmm_plugins.models.tiny.lm import SPLIT
from silmm_plugins.models.tiny_discrete.language_model import LanguageModel


@torch.inference_mode()
def sample_codes(
    model: LanguageModel, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: SamplingParams
) -> Tensor:
    """Sample image codes (batch, image_length) after prompts of token ids."""
    ids, valid, positions = model.pad_left(prompts)
    batch, length = len(prompts), model.image_length
    uniform = streams(seeds, length).to(ids.device)
    cache: Any = StaticCache(config=model.backbone.config, max_cache_len=ids.shape[1] + length)
    keys = torch.cat([valid, valid.new_ones(batch, length)], 1)
    total = keys.shape[1]
    codes = torch.zeros(batch, length, dtype=torch.long, device=ids.device)
    start = torch.full((batch, 1), model.vocabulary.boi, device=ids.device)
    vectors = model.embed(torch.cat([ids, start], 1))
    place = torch.arange(SPLIT, SPLIT + length, device=ids.device)
    positions = torch.cat([positions, place[:1].expand(batch, -1)], 1)
    time = torch.arange(total, device=ids.device)
    for step in range(length):
        seen = ids.shape[1] + step + 1
        now = torch.arange(seen - vectors.shape[1], seen, device=ids.device)
        mask = (time <= now[:, None]) & keys[:, None, :] | (time == now[:, None])
        out = model.hidden(vectors, mask, positions, cache)
        codes[:, step] = pick(
            model.image_logits(out.last_hidden_state[:, -1]).float(), uniform[:, step], sampling
        )
        vectors = model.embed_codes(codes[:, step : step + 1], step)
        positions = place[step + 1 : step + 2].expand(batch, -1)
    return codes
