"""Choosing tokens by chance, each sequence from its own stream of numbers, and writing words so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from silmm.interfaces import Drawing
from silmm_plugins.tiny.lm import TinyLM


def truncate(probabilities: Tensor, drawing: Drawing) -> Tensor:
    """Set to 0 what top-k and nucleus sampling leave out, (batch, tokens); the rest is not rescaled.

    The nucleus is the smallest set of most probable tokens whose mass reaches top_p (Holtzman et al. 2020).
    """
    if drawing.top_k == 0 and drawing.top_p >= 1:
        return probabilities
    ordered, order = probabilities.sort(-1, descending=True)
    keep = torch.ones_like(ordered, dtype=torch.bool)
    if drawing.top_k:
        keep[:, drawing.top_k :] = False
    if drawing.top_p < 1:
        keep &= ordered.cumsum(-1) - ordered < drawing.top_p
    return torch.zeros_like(probabilities).scatter(-1, order, ordered * keep)


def pick(logits: Tensor, uniform: Tensor, drawing: Drawing) -> Tensor:
    """Turn logits (batch, tokens) and numbers in [0, 1) into tokens (batch,) by inverse sampling."""
    if drawing.temperature == 0:
        return logits.argmax(-1)
    kept = truncate((logits / drawing.temperature).softmax(-1), drawing)
    mass = kept.cumsum(-1)
    chosen = (mass <= uniform[:, None] * mass[:, -1:]).sum(-1)
    last = (kept > 0).long() * torch.arange(1, kept.shape[1] + 1, device=kept.device)
    return torch.minimum(chosen, last.amax(-1) - 1)  # rounding may point behind the last kept token


def streams(seeds: Sequence[int], length: int) -> Tensor:
    """Return (batch, length) numbers in [0, 1), each row from its own seed alone."""
    rows = [np.random.Generator(np.random.Philox(key=seed)).random(length) for seed in seeds]
    return torch.from_numpy(np.stack(rows)).float()


@torch.inference_mode()
def write_words(
    model: TinyLM,
    requests: Sequence[Sequence[int]],
    seeds: Sequence[int],
    temperatures: Sequence[float],
    longest: int,
) -> list[list[int]]:
    """Answer requests of token ids with word ids, without <eos>; temperature 0 is greedy."""
    words = model.vocabulary
    uniform = streams(seeds, longest)
    heat = torch.tensor(temperatures)[:, None]
    answers: list[list[int]] = [[] for _ in requests]
    open_rows = torch.ones(len(requests), dtype=torch.bool)
    for step in range(longest):
        # A request is a few tokens long: running it again each step is simpler than a cache.
        padded = [[*a, words.eos] if o else [words.eos] for a, o in zip(answers, open_rows, strict=True)]
        width = max(len(p) for p in padded)
        padded = [p + [words.pad] * (width - len(p)) for p in padded]
        logits, _ = model.text_logits(requests, padded)
        at = torch.tensor([len(a) for a in answers]).clamp(max=width - 1)
        scores = logits[torch.arange(len(requests)), at].float().cpu()
        greedy = scores.argmax(-1)
        sampled = pick(scores / heat.clamp(min=1e-6), uniform[:, step], Drawing())
        chosen = torch.where(heat[:, 0] == 0, greedy, sampled)
        for row in torch.nonzero(open_rows).flatten().tolist():
            if int(chosen[row]) == words.eos:
                open_rows[row] = False
            else:
                answers[row].append(int(chosen[row]))
        if not open_rows.any():
            break
    return answers
