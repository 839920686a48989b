"""Step 2, discrete: diverse image tokens by nucleus sampling from the model's own distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from silmm.contracts.candidates import Sampled
from silmm.contracts.models import BaseModel, SamplingParams
from silmm.contracts.options import Options, option


class NucleusOptions(Options):
    """Options of `nucleus`; the paper names the method but not its numbers."""

    temperature: float = option(
        1.0, "divides the logits; 1 is the model's own distribution", gt=0.0, paper="Sec. 3.1 step 2 (no value given)"
    )
    top_p: float = option(
        0.9,
        "keeps the smallest set of tokens with this probability; 0.9 cuts the tail of near-noise tokens and keeps "
        "candidates diverse (Holtzman et al. 2020), 1 is off",
        gt=0.0, le=1.0, unit="probability", paper="Sec. 3.1 step 2 (no value given)",
    )
    top_k: int = option(
        0,
        "keeps the k likeliest tokens; 0 is off (the paper does not use it)",
        ge=0, unit="tokens", paper="not used",
    )


class Nucleus:
    """Sample every candidate from its own seed."""

    def __init__(self, options: NucleusOptions) -> None:
        """Keep the options; see :class:`NucleusOptions`."""
        self.sampling = SamplingParams(options.temperature, options.top_p, options.top_k)

    def sample(self, model: BaseModel, prompts: Sequence[str], seeds: Sequence[int]) -> list[Sampled]:
        """Return one z of shape (L,) int32 per (prompt, seed) pair, in order; meta: the sampling parameters."""
        meta = asdict(self.sampling)
        return [Sampled(z, meta) for z in model.represent(prompts, seeds, self.sampling)]
