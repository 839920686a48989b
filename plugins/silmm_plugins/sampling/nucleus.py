"""Step 2, discrete: diverse image tokens by nucleus sampling from the model's own distribution."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from silmm.contracts.models import BaseModel, Latent, SamplingParams
from silmm.contracts.options import Options


class NucleusOptions(Options):
    """Options of `nucleus`; the paper names the method but not its numbers."""

    temperature: float = Field(
        default=1.0,
        gt=0.0,
        description="divides the logits; 1 is the model's own distribution",
        json_schema_extra={"paper": "Sec. 3.1 step 2 (no value given)", "unit": ""},
    )
    top_p: float = Field(
        default=0.9,
        gt=0.0,
        le=1.0,
        description="keeps the smallest set of tokens with this probability; 0.9 cuts the tail of "
        "near-noise tokens and keeps candidates diverse (Holtzman et al. 2020), 1 is off",
        json_schema_extra={"paper": "Sec. 3.1 step 2 (no value given)", "unit": "probability"},
    )
    top_k: int = Field(
        default=0,
        ge=0,
        description="keeps the k likeliest tokens; 0 is off (as nothing in the paper asks for it)",
        json_schema_extra={"paper": "not used", "unit": "tokens"},
    )


class Nucleus:
    """Sample every candidate from its own seed."""

    def __init__(self, options: NucleusOptions) -> None:
        """Keep the options; see :class:`NucleusOptions`."""
        self.sampling = SamplingParams(options.temperature, options.top_p, options.top_k)

    def sample(self, model: BaseModel, prompts: Sequence[str], seeds: Sequence[int]) -> list[Latent]:
        """Return one z of shape (L,) int32 for each (prompt, seed) pair, in order."""
        return model.represent(prompts, seeds, self.sampling)
