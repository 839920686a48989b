"""Sampling image codes with classifier-free guidance, and the likelihood that training uses.

The sampler samples from softmax(((1 - g) u + g c) / temperature), cut by top-k and top-p, where c are the
logits after the prompt, u those after the same prompt with its inner ids replaced by padding, and g the
guidance. The likelihood is log softmax(c), the model's own distribution: it equals the sampler's at g = 1 and
temperature 1 (docs/spec/base-models.md 0.6 and 5.4; docs/spec/method.md, DPO).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import StaticCache

from silmm.contracts.models import SamplingParams
from silmm_plugins.models._shared.token_sampling import pick, streams
from silmm_plugins.models.janus.network import Network, causal, pad_left, positions_of
from silmm_plugins.models.janus.prompts import Prompts


@torch.inference_mode()
def sample_codes(
    network: Network,
    prompts: Prompts,
    texts: Sequence[str],
    seeds: Sequence[int],
    sampling: SamplingParams,
    guidance: float,
) -> Tensor:
    """Sample image codes, int64 (batch, image_length), each row from its own seed; guidance 1 is none."""
    rows = [prompts.sampling(text) for text in texts]
    batch, length = len(rows), network.image_length
    if guidance != 1:
        rows += [prompts.unconditional(row) for row in rows]
    ids, valid = pad_left(rows, prompts.pad, network.device)
    start = ids.shape[1]
    seen = torch.cat([valid, valid.new_ones(len(rows), length)], 1)
    positions = positions_of(seen)
    cache: Any = StaticCache(config=network.text_config, max_cache_len=start + length)
    uniform = streams(seeds, length).to(network.device)
    codes = torch.zeros(batch, length, dtype=torch.long, device=network.device)
    vectors, first, last = network.embed(ids), 0, start
    for step in range(length):
        states = network.hidden(vectors, causal(seen, first, last), positions[:, first:last], cache)
        logits = guided(network.image_logits(states[:, -1]), guidance)
        codes[:, step] = pick(logits, uniform[:, step], sampling)
        vectors = network.embed_codes(codes[:, step : step + 1].repeat(len(rows) // batch, 1))
        first, last = last, last + 1
    return codes


def guided(logits: Tensor, guidance: float) -> Tensor:
    """Merge logits (2 batch, codes), conditional rows first, to (batch, codes); guidance 1 has no others."""
    if guidance == 1:
        return logits
    conditional, unconditional = logits.chunk(2)
    return unconditional + guidance * (conditional - unconditional)


def log_likelihoods(network: Network, prompts: Prompts, texts: Sequence[str], codes: Tensor) -> Tensor:
    """Return log pi of each code, float32 (batch, image_length), after its prompt and the codes before it."""
    length = codes.shape[1]
    ids, valid = pad_left([prompts.sampling(text) for text in texts], prompts.pad, network.device)
    vectors = torch.cat([network.embed(ids), network.embed_codes(codes[:, :-1])], 1)
    seen = torch.cat([valid, valid.new_ones(len(codes), length - 1)], 1)
    mask = None if bool(valid.all()) else causal(seen, 0, seen.shape[1])
    states = network.hidden(vectors, mask, positions_of(seen))
    logits = network.image_logits(states[:, -length:])
    return logits.log_softmax(-1).gather(-1, codes[..., None])[..., 0]
