"""Sampling codes with the structure forced, guidance in the same batch, and each candidate's own numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from silmm_plugins.models._shared.token_sampling import pick, streams
from silmm_plugins.models.emu3 import grammar
from silmm_plugins.models.emu3.language_model import Decoding, LanguageModel

if TYPE_CHECKING:
    from silmm.contracts.models import SamplingParams
    from silmm_plugins.models.emu3.grammar import Codes


@dataclass(frozen=True)
class Canvas:
    """What a candidate is sampled from."""

    prefix: Sequence[int]
    """Ids up to the size of the image."""
    negative: Sequence[int]
    """The same of the negative prompt; not read without guidance."""
    shape: tuple[int, int]
    """Rows and columns of codes."""
    seed: int


@torch.inference_mode()
def sample(
    model: LanguageModel, canvases: Sequence[Canvas], sampling: SamplingParams, guidance: float
) -> list[Codes]:
    """Sample the codes of each canvas.

    Logits are those of the codes alone, u + guidance * (c - u) with c after the prompt and u after the
    negative prompt (docs/spec/base-models.md 3.5); then temperature, top-k and top-p. Both halves run in one
    batch. Ends of rows are put where they belong without asking the model.

    Args:
        model: the policy.
        canvases: what to sample; unequal sizes may be mixed.
        sampling: temperature, top-k and top-p; temperature 0 takes the likeliest code.
        guidance: 1 is the model's own distribution, without a second half.
    """
    guided = guidance != 1.0
    plans = [grammar.visual_places(*canvas.shape) for canvas in canvases]
    steps = max(plan[-1] for plan in plans) + 1
    numbers = streams([canvas.seed for canvas in canvases], max(map(len, plans))).to(model.device)
    at = _order(plans, steps).to(model.device)
    prefixes = [canvas.prefix for canvas in canvases] + [canvas.negative for canvas in canvases] * guided
    decoding = Decoding(model, prefixes, steps)
    sampled = torch.zeros(len(canvases), steps, dtype=torch.long, device=model.device)
    for time in range(steps):
        logits = model.code_logits(decoding.states)
        if guided:
            own, other = logits.chunk(2)
            logits = other + guidance * (own - other)
        uniform = numbers.gather(1, at[:, time : time + 1].clamp(min=0)).squeeze(1)
        codes = pick(logits, uniform, sampling)
        sampled[:, time] = codes
        if time + 1 < steps:
            tokens = _tokens(codes, at[:, time], model)
            decoding.step(tokens.repeat(1 + guided))
    return [
        sampled[row, plan].cpu().numpy().astype(np.int32).reshape(canvas.shape)
        for row, (plan, canvas) in enumerate(zip(plans, canvases, strict=True))
    ]


def _order(plans: Sequence[Sequence[int]], steps: int) -> Tensor:
    """Return (canvases, steps): which code of its image a step is, or -1 for an end of row."""
    order = torch.full((len(plans), steps), -1)
    for row, plan in enumerate(plans):
        order[row, torch.tensor(plan)] = torch.arange(len(plan))
    return order


def _tokens(codes: Tensor, order: Tensor, model: LanguageModel) -> Tensor:
    """Return the token ids of a step: codes where a code stands, ends of rows elsewhere.

    An image that is finished goes on with ends of rows until the largest of the batch is; nobody reads them.
    """
    return torch.where(order >= 0, codes + model.tokens.visual, model.tokens.eol)
