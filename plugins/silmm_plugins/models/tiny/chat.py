"""Writing words, each answer from its own stream of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from silmm.contracts.models import SamplingParams
from silmm_plugins.models._shared.token_sampling import pick, streams
from silmm_plugins.models.tiny.lm import TinyLM


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
        sampled = pick(scores / heat.clamp(min=1e-6), uniform[:, step], SamplingParams())
        chosen = torch.where(heat[:, 0] == 0, greedy, sampled)
        for row in torch.nonzero(open_rows).flatten().tolist():
            if int(chosen[row]) == words.eos:
                open_rows[row] = False
            else:
                answers[row].append(int(chosen[row]))
        if not open_rows.any():
            break
    return answers
