"""The batch of pairs that losses of likelihoods take; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from silmm.contracts.models import Latent

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


@dataclass(frozen=True)
class PairBatch:
    """The candidates of some prompts side by side, each once, and the pairs among them."""

    prompts: Sequence[str]
    """One for each candidate."""
    latents: Sequence[Latent]
    reference: Float[Tensor, " candidates"]
    """log ref(z|x), float32, in nats."""
    tokens: Float[Tensor, " candidates"]
    """Image tokens, or numbers, of each candidate."""
    chosen: Int[Tensor, " pairs"]
    """Positions of the pairs' chosen candidates."""
    rejected: Int[Tensor, " pairs"]
