"""Sampling codes in a forced structure, guided in one batch, each candidate from its own random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from silmm_plugins.models._shared.generation import sample_codes, streams
from silmm_plugins.models._shared.sequences import Decoding
from silmm_plugins.models.emu3 import grammar
from silmm_plugins.models.emu3.language_model import Emu3LM

if TYPE_CHECKING:
    from silmm.contracts.models import SamplingParams
    from silmm_plugins.models.emu3.grammar import Codes


@dataclass(frozen=True)
class Canvas:
    """The inputs of one candidate."""

    prefix: Sequence[int]
    """Ids up to the size of the image."""
    negative: Sequence[int]
    """The same of the negative prompt; unused without guidance."""
    shape: tuple[int, int]
    """Rows and columns of codes."""
    seed: int


def sample(
    model: Emu3LM, canvases: Sequence[Canvas], sampling: SamplingParams, guidance: float
) -> list[Codes]:
    """Sample the codes of each canvas.

    Logits are those of the codes alone, u + guidance * (c - u) with c after the prompt and u after the
    negative prompt (docs/spec/base-models.md 3.5); then temperature, top-k and top-p. Both halves run in one
    batch. Ends of rows are inserted without the model.

    Args:
        model: the policy.
        canvases: of unequal sizes, if need be.
        sampling: temperature, top-k and top-p; temperature 0 takes the likeliest code.
        guidance: 1 is the model's own distribution, without the second half.
    """
    orders = _orders([grammar.code_positions(*canvas.shape) for canvas in canvases]).to(model.device)
    numbers = streams([canvas.seed for canvas in canvases], int(orders.max()) + 1).to(model.device)
    prefixes = [canvas.prefix for canvas in canvases]
    if guidance != 1:
        prefixes += [canvas.negative for canvas in canvases]

    def inputs(codes: Tensor, step: int) -> Tensor:
        """Embed codes at the positions of codes, and ends of rows elsewhere.

        A finished image is continued with ends of rows, which are not read, until the largest of the batch ends.
        """
        return model.embed(torch.where(orders[:, step] >= 0, codes + model.tokens.visual, model.tokens.eol))

    sampled = sample_codes(
        Decoding(model, prefixes, room=orders.shape[1]),
        numbers.gather(1, orders.clamp(min=0)),
        sampling,
        model.code_logits,
        inputs,
        guidance,
    )
    return [
        codes[order >= 0].cpu().numpy().astype(np.int32).reshape(canvas.shape)
        for codes, order, canvas in zip(sampled, orders, canvases, strict=True)
    ]


def _orders(positions: Sequence[Sequence[int]]) -> Tensor:
    """Return (canvases, steps): the number of a step's code in its image, or -1 for an end of row.

    Args:
        positions: of each image's codes among its tokens.
    """
    orders = torch.full((len(positions), max(codes[-1] for codes in positions) + 1), -1)
    for row, codes in enumerate(positions):
        orders[row, torch.tensor(codes)] = torch.arange(len(codes))
    return orders
