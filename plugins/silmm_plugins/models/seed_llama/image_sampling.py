"""Sampling image codes in the forced span of an image, and the likelihood that training uses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from silmm.contracts.models import SamplingParams
from silmm_plugins.models._shared.generation import sample_codes, streams
from silmm_plugins.models._shared.sequences import Decoding
from silmm_plugins.models.seed_llama.language_model import SeedLM


@torch.inference_mode()
def sample(
    model: SeedLM,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    sampling: SamplingParams,
    codes: slice,
    length: int,
) -> Tensor:
    """Sample `length` codes, (batch, length) from 0, behind prompts that end with ``<img>``.

    Every step chooses among the code tokens alone, whose ids are `codes` (docs/spec/base-models.md 2.5). A prompt
    that comes several times is read once.
    """
    distinct = {prompt: number for number, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
    decoding = Decoding(model, list(distinct))
    decoding.select([distinct[tuple(prompt)] for prompt in prompts])
    return sample_codes(
        decoding,
        streams(seeds, length).to(model.device),
        sampling,
        lambda states: model.logits_of(states, codes),
        lambda sampled, _: model.embed(sampled + codes.start),
    )


def code_log_probabilities(
    model: SeedLM, prompts: Sequence[Sequence[int]], sampled: Tensor, codes: slice, *, full: bool = False
) -> Tensor:
    """Return log pi of each code, (batch, length), float32 and differentiable.

    The softmax is over the codes, as they are sampled, or with `full` over the whole vocabulary
    (docs/spec/base-models.md 2.7).
    """
    tokens = sampled + codes.start
    states = model.following_states(prompts, tokens)
    rows, targets = (slice(None), tokens) if full else (codes, sampled)
    return model.logits_of(states, rows).log_softmax(-1).gather(-1, targets[..., None])[..., 0]
