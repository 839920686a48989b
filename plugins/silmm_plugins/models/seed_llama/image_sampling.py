"""Sampling: the span of image codes is forced, and each candidate has its own stream of random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from silmm.contracts.models import SamplingParams
from silmm_plugins.models._shared.token_sampling import pick, streams
from silmm_plugins.models.seed_llama.sequences import Running, following_states, head


@torch.inference_mode()
def sample_codes(
    backbone: Any,
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
    unique = {prompt: place for place, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
    running = Running(backbone, list(unique))
    running.spread([unique[tuple(prompt)] for prompt in prompts])
    uniform = streams(seeds, length).to(backbone.device)
    sampled: list[Tensor] = []
    for step in range(length):
        if sampled:
            running.step(sampled[-1] + codes.start)
        sampled.append(pick(head(backbone, running.state, codes), uniform[:, step], sampling))
    return torch.stack(sampled, 1)


def code_log_probabilities(
    backbone: Any, prompts: Sequence[Sequence[int]], sampled: Tensor, codes: slice, *, full: bool = False
) -> Tensor:
    """Return log pi of each code, (batch, length), float32 and differentiable.

    The softmax is over the codes, as they are sampled, or with `full` over the whole vocabulary
    (docs/spec/base-models.md 2.7).
    """
    tokens = sampled + codes.start
    states = following_states(backbone, prompts, tokens)
    rows, wanted = (slice(None), tokens) if full else (codes, sampled)
    return head(backbone, states, rows).log_softmax(-1).gather(-1, wanted[..., None])[..., 0]


@torch.inference_mode()
def write(
    backbone: Any,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    temperatures: Sequence[float],
    limits: Sequence[int],
    *,
    end: int,
    text: slice,
) -> list[list[int]]:
    """Answer prompts with token ids of text alone, without `end`; temperature 0 is greedy.

    Args:
        backbone: the language model.
        prompts: token ids.
        seeds: of each answer's random numbers.
        temperatures: of each answer.
        limits: most tokens of each answer.
        end: the id that ends an answer.
        text: ids that may be written, from 0; image tokens are not among them.
    """
    running = Running(backbone, prompts)
    uniform = streams(seeds, max(limits)).to(backbone.device)
    heat = torch.tensor(temperatures, device=backbone.device)[:, None]
    answers: list[list[int]] = [[] for _ in prompts]
    unfinished = {row for row, limit in enumerate(limits) if limit}
    for step in range(max(limits)):
        logits = head(backbone, running.state, text)
        sampled = pick(logits / heat.clamp(min=1e-6), uniform[:, step], SamplingParams())
        chosen = torch.where(heat[:, 0] == 0, logits.argmax(-1), sampled)
        for row, token in enumerate(chosen.tolist()):
            if row not in unfinished:
                continue
            if token != end:
                answers[row].append(token)
            if token == end or len(answers[row]) == limits[row]:
                unfinished.discard(row)
        if not unfinished:
            break
        running.step(chosen)
    return answers
