"""Sampling image codes with classifier-free guidance, and the likelihood that training uses.

The sampler samples from softmax(((1 - g) u + g c) / temperature), truncated by top-k and top-p, where c are the
logits after the prompt, u those after the same prompt with its inner ids replaced by padding, and g the
guidance. The likelihood is log softmax(c), the model's own distribution: it equals the sampler's at g = 1 and
temperature 1 (docs/spec/base-models.md 0.6 and 5.4; docs/spec/method.md, DPO).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from silmm.contracts.models import SamplingParams
from silmm_plugins.models._shared.generation import sample_codes, streams
from silmm_plugins.models._shared.sequences import Decoding, causal
from silmm_plugins.models.janus.language_model import JanusNetwork
from silmm_plugins.models.janus.prompts import JanusPrompts


def sample(
    network: JanusNetwork,
    prompts: JanusPrompts,
    texts: Sequence[str],
    seeds: Sequence[int],
    sampling: SamplingParams,
    guidance: float,
) -> Tensor:
    """Sample image codes, int64 (batch, image_length), each row from its own seed; guidance 1 is none."""
    rows = [prompts.sampling(text) for text in texts]
    if guidance != 1:
        rows += [prompts.unconditional(row) for row in rows]
    return sample_codes(
        Decoding(network, rows, room=network.image_length),
        streams(seeds, network.image_length).to(network.device),
        sampling,
        network.code_logits,
        lambda codes, _: network.embed_codes(codes[:, None])[:, 0],
        guidance,
    )


def log_likelihoods(network: JanusNetwork, prompts: JanusPrompts, texts: Sequence[str], codes: Tensor) -> Tensor:
    """Return log pi of each code, float32 (batch, image_length), given its prompt and the codes before it."""
    length = codes.shape[1]
    vectors, valid, positions = network.pad_left([prompts.sampling(text) for text in texts])
    vectors = torch.cat([vectors, network.embed_codes(codes[:, :-1])], 1)
    behind = positions[:, -1:] + torch.arange(1, length, device=positions.device)
    allowed = None if bool(valid.all()) else causal(torch.nn.functional.pad(valid, (0, length - 1), value=True))
    states = network.run(vectors, allowed, torch.cat([positions, behind], 1))
    logits = network.code_logits(states[:, -length:])
    return logits.log_softmax(-1).gather(-1, codes[..., None])[..., 0]
