"""Writing text and sampling image codes, each sequence from its own stream of random numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from silmm.contracts.models import ChatRequest, SamplingParams
from silmm.errors import DataError
from silmm_plugins.models._shared.sequences import Decoding, SequenceModel, slices

Logits = Callable[[Tensor], Tensor]
"""Hidden states (batch, D) to float32 logits (batch, choices)."""


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


@torch.inference_mode()
def write(
    model: SequenceModel,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    temperatures: Sequence[float],
    limits: Sequence[int],
    *,
    stop: int,
    logits: Logits | None = None,
    choices: Tensor | None = None,
) -> list[list[int]]:
    """Continue each prompt until `stop`, which is left out, or up to its limit; a finished row leaves the batch.

    Args:
        model: the language model.
        prompts: token ids.
        seeds: of each row's random numbers.
        temperatures: of each row; 0 is greedy.
        limits: the most tokens of each row, at least 1.
        stop: the id that ends a row.
        logits: over what may be written; the model's whole text vocabulary without it.
        choices: the token ids (choices,) that these logits stand for; the first ones of the vocabulary without it.
    """
    decoding = Decoding(model, prompts)
    uniform = streams(seeds, max(limits)).to(model.device)
    temperature = torch.tensor(temperatures, device=model.device)
    texts: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))
    for step in range(max(limits)):
        chosen = _choose((logits or model.logits)(decoding.states), uniform[rows, step], temperature[rows])
        tokens = chosen if choices is None else choices[chosen]
        open_rows = []
        for index, (row, token) in enumerate(zip(rows, tokens.tolist(), strict=True)):
            if token != stop:
                texts[row].append(token)
                if len(texts[row]) < limits[row]:
                    open_rows.append(index)
        if not open_rows:
            break
        if len(open_rows) < len(rows):
            decoding.select(open_rows)
            rows, tokens = [rows[index] for index in open_rows], tokens[open_rows]
        decoding.step(model.embed(tokens))
    return texts


def _choose(logits: Tensor, uniform: Tensor, temperature: Tensor) -> Tensor:
    sampled = pick(logits / temperature[:, None].clamp(min=1e-6), uniform, SamplingParams())
    return torch.where(temperature == 0, logits.argmax(-1), sampled)


def reply(
    model: SequenceModel,
    requests: Sequence[ChatRequest],
    encode: Callable[[ChatRequest], list[int]],
    decode: Callable[[list[int]], str],
    *,
    owner: str,
    batch_size: int,
    stop: int,
    tokens_per_word: int = 2,
    logits: Logits | None = None,
    choices: Tensor | None = None,
) -> list[str]:
    """Answer chat requests with text of at most `max_words` words each.

    Args:
        model: the language model.
        requests: the requests.
        encode: a request to the ids of its prompt.
        decode: ids to text.
        owner: the base model, for messages.
        batch_size: how many are answered at once.
        stop: as for :func:`write`.
        tokens_per_word: room for an answer; a longer one is cut behind its words anyway.
        logits: as for :func:`write`.
        choices: as for :func:`write`.

    Raises:
        DataError: a request leaves no room for an answer.
    """
    replies: list[str] = []
    for part in slices(len(requests), batch_size):
        prompts = [encode(request) for request in requests[part]]
        for request, ids in zip(requests[part], prompts, strict=True):
            if len(ids) >= model.longest:
                raise DataError(
                    f"the request {request.input[:60]!r} has {len(ids)} tokens with instruction and examples; {owner} "
                    f"reads {model.longest - 1}. Make it shorter or give fewer examples"
                )
        texts = write(
            model,
            prompts,
            [request.seed for request in requests[part]],
            [request.temperature for request in requests[part]],
            [
                min(tokens_per_word * request.max_words, model.longest - len(ids))
                for request, ids in zip(requests[part], prompts, strict=True)
            ],
            stop=stop,
            logits=logits,
            choices=choices,
        )
        replies += [first_words(decode(ids), r.max_words) for ids, r in zip(texts, requests[part], strict=True)]
    return replies


def first_words(text: str, count: int) -> str:
    """Return the first words of a text with the spaces and lines between them, and none around it."""
    match = re.match(rf"\s*(?:\S+\s*){{0,{count}}}", text)
    return match[0].strip() if match else ""


@torch.inference_mode()
def sample_codes(
    decoding: Decoding,
    uniform: Tensor,
    sampling: SamplingParams,
    logits: Logits,
    inputs: Callable[[Tensor, int], Tensor],
    guidance: float = 1.0,
) -> Tensor:
    """Sample one code per step and candidate, int64 (candidates, steps).

    Args:
        decoding: has read what stands before the codes; with guidance the conditional rows come first, then as many
            unconditional ones.
        uniform: numbers in [0, 1), (candidates, steps).
        sampling: temperature, top-k and top-p.
        logits: over the codes.
        inputs: ``inputs(codes, step)`` returns the input embeddings (candidates, D) of the codes of a step.
        guidance: scale of classifier-free guidance; 1 is none.
    """
    codes: list[Tensor] = []
    for step in range(uniform.shape[1]):
        if codes:
            vectors = inputs(codes[-1], step - 1)
            decoding.step(vectors.repeat(len(decoding.states) // len(vectors), 1))
        codes.append(pick(guided(logits(decoding.states), guidance), uniform[:, step], sampling))
    return torch.stack(codes, 1)


def guided(logits: Tensor, guidance: float) -> Tensor:
    """Merge logits (2 candidates, codes), conditional rows first; guidance 1 has no unconditional ones."""
    if guidance == 1:
        return logits
    conditional, unconditional = logits.chunk(2)
    return unconditional + guidance * (conditional - unconditional)
