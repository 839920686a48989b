"""Text-only talk: tokens one after another, each answer from its own stream of random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

from silmm.contracts.models import ChatRequest, SamplingParams
from silmm_plugins.models._shared.token_sampling import pick, streams
from silmm_plugins.models.janus.network import Network, causal, pad_left, positions_of
from silmm_plugins.models.janus.prompts import Prompts

_TOKENS_A_WORD = 2
"""Room for an answer; what is longer than `max_words` is cut off anyway."""


@torch.inference_mode()
def reply(network: Network, prompts: Prompts, requests: Sequence[ChatRequest]) -> list[str]:
    """Answer requests with text of at most `max_words` words; temperature 0 is greedy."""
    ids, seen = pad_left([prompts.talking(request) for request in requests], prompts.pad, network.device)
    longest = _TOKENS_A_WORD * max(request.max_words for request in requests)
    uniform = streams([request.seed for request in requests], longest).to(network.device)
    heat = torch.tensor([request.temperature for request in requests], device=network.device)[:, None]
    cache: Any = DynamicCache(config=network.text_config)
    vectors, first = network.embed(ids), 0
    open_rows = torch.ones(len(requests), dtype=torch.bool, device=network.device)
    written = []
    for step in range(longest):
        last = seen.shape[1]
        positions = positions_of(seen)[:, first:last]
        states = network.hidden(vectors, causal(seen, first, last), positions, cache)
        logits = network.text_logits(states[:, -1])
        sampled = pick(logits / heat.clamp(min=1e-6), uniform[:, step], SamplingParams())
        chosen = torch.where(heat[:, 0] == 0, logits.argmax(-1), sampled)
        chosen = torch.where(open_rows, chosen, prompts.eos)
        open_rows = open_rows & (chosen != prompts.eos)
        if not bool(open_rows.any()):
            break
        written.append(chosen)
        vectors, first = network.embed(chosen[:, None]), last
        seen = torch.cat([seen, seen.new_ones(len(requests), 1)], 1)
    rows = torch.stack(written, 1).tolist() if written else [[] for _ in requests]
    return [
        _words(prompts.text(row[: row.index(prompts.eos)] if prompts.eos in row else row), request.max_words)
        for row, request in zip(rows, requests, strict=True)
    ]


def _words(text: str, most: int) -> str:
    """Cut behind `most` words and keep the line breaks before."""
    if len(text.split()) <= most:
        return text
    kept: list[str] = []
    left = most
    for line in text.splitlines():
        words = line.split()[:left]
        kept.append(" ".join(words))
        left -= len(words)
        if left == 0:
            break
    return "\n".join(kept).strip()
