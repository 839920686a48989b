"""Capabilities, weights and preset settings of `tiny-continuous`; imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from silmm.contracts.options import presets

if TYPE_CHECKING:
    from silmm.contracts.models import Capability

CAPABILITIES: tuple[Capability, ...] = (
    *("chat", "yes_no", "features", "mlp_blocks", "query_embeddings", "rewrite"),
)

WEIGHTS = Path(__file__).parent / "weights"
"""The folder of the shipped weights."""

DEFAULTS: dict[str, object] = {
    "sampler": "dropdiv",
    **presets("sampler", "dropdiv", rate=0.4, layers="second-half", mask="candidate"),
    "trainer": "kc-dpo",
    "kernel": "avgpool-cos",
    "prompts": 1024,
    "images_per_prompt": 16,
    "shard_size": 32,
    **presets(
        "prompter", "self",
        objects=["shapes"],
        attributes=["colors", "textures", "shapes"],
        relations=["2d spatial relations", "3d spatial relations"],
    ),
    **presets("scorer", "vqascore", "vqascore-dual", question="{}?"),
    **presets("pair-rule", "top-last", k=3),
    **presets("trainer", "kc-dpo", gamma="auto", reference_weight=0.2),
    # The lower half reads images: over iterations, adapters there cost answers and the gain itself.
    **presets(
        "trainer", "kc-dpo", "c-dpo", "mc-dpo", "sft",
        layers="last:3", learning_rate=3e-3, batch_size=288, gradient_accumulation_steps=1, max_steps=150,
        warmup_steps=10, precision="bf16",
    ),
    "benchmark": "shapes",
    **presets("benchmark", "shapes", images_at_temperature_1=0),
    "threads": 1,
}
