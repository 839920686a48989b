"""Choosing tokens by chance, each sequence from its own stream of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from silmm.contracts.models import SamplingParams


def truncate(probabilities: Tensor, sampling: SamplingParams) -> Tensor:
    """Set to 0 what top-k and nucleus sampling leave out, (batch, tokens); the rest is not rescaled.

    The nucleus is the smallest set of most probable tokens whose mass reaches top_p (Holtzman et al. 2020).
    """
    if sampling.top_k == 0 and sampling.top_p >= 1:
        return probabilities
    ordered, order = probabilities.sort(-1, descending=True)
    keep = torch.ones_like(ordered, dtype=torch.bool)
    if sampling.top_k:
        keep[:, sampling.top_k :] = False
    if sampling.top_p < 1:
        keep &= ordered.cumsum(-1) - ordered < sampling.top_p
    return torch.zeros_like(probabilities).scatter(-1, order, ordered * keep)


def pick(logits: Tensor, uniform: Tensor, sampling: SamplingParams) -> Tensor:
    """Turn logits (batch, tokens) and numbers in [0, 1) into tokens (batch,) by inverse sampling."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    kept = truncate((logits / sampling.temperature).softmax(-1), sampling)
    mass = kept.cumsum(-1)
    chosen = (mass <= uniform[:, None] * mass[:, -1:]).sum(-1)
    last = (kept > 0).long() * torch.arange(1, kept.shape[1] + 1, device=kept.device)
    return torch.minimum(chosen, last.amax(-1) - 1)  # rounding may point behind the last kept token


def streams(seeds: Sequence[int], length: int) -> Tensor:
    """Return (batch, length) numbers in [0, 1), each row from its own seed alone."""
    rows = [np.random.Generator(np.random.Philox(key=seed)).random(length) for seed in seeds]
    return torch.from_numpy(np.stack(rows)).float()
