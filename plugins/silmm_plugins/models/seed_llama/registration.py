"""Registration of `seed-llama`: its options and what it can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm_plugins.models.seed_llama.options import CAPABILITIES, SeedLlamaOptions

if TYPE_CHECKING:
    from silmm.contracts.models import BaseModel
    from silmm.contracts.registration import Register





def register_models(register: Register) -> None:
    """Register SEED-LLaMA."""
    register(
        "seed-llama",
        _build,
        options=SeedLlamaOptions,
        summary="SEED-LLaMA 8B and 14B: images as 32 codes, sampled by unCLIP; needs --model seed-llama:DIR.",
        kind="discrete",
        capabilities=CAPABILITIES,
        paper="Sec. 4.1 (SEED-LLaMA-8B)",
    )


def _build(options: SeedLlamaOptions) -> BaseModel:
    from silmm_plugins.models.seed_llama.loading import load

    return load(options)
