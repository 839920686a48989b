"""The batch of pairs that losses of likelihoods take; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from silmm.contracts.models import Latent

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class PairBatch:
    """The candidates of some prompts side by side, each once, and the pairs among them."""

    prompts: Sequence[str]
    """One for each candidate."""
    latents: Sequence[Latent]
    reference: torch.Tensor
    """log ref(z|x) in nats, float32 of shape (candidates,)."""
    tokens: torch.Tensor
    """Image tokens, or numbers, of each candidate, float32 of shape (candidates,)."""
    chosen: torch.Tensor
    """Positions of the pairs' chosen candidates, int64 of shape (pairs,)."""
    rejected: torch.Tensor
    """Positions of the pairs' rejected candidates, the same shape."""
