"""Capabilities, weights and preset settings of `tiny-discrete`; imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from silmm.contracts.options import presets

if TYPE_CHECKING:
    from silmm.contracts.models import Capability

CAPABILITIES: tuple[Capability, ...] = (
    *("chat", "yes_no", "log_likelihood", "token_log_likelihood", "nucleus"),
)

WEIGHTS = Path(__file__).parent / "weights"
"""The folder of the shipped weights."""

DEFAULTS: dict[str, object] = {
    "prompts": 512,
    "images_per_prompt": 16,
    "shard_size": 32,
    **presets(
        "prompter", "self",
        objects=["shapes"],
        attributes=["colors", "textures", "shapes"],
        relations=["2d spatial relations", "3d spatial relations"],
    ),
    **presets("sampler", "nucleus", temperature=1.5, top_p=0.5),
    **presets("scorer", "vqascore", "vqascore-dual", question="{}?"),
    **presets("pair-rule", "top-last", k=2),
    # The lower half reads images: over iterations, adapters there cost answers and the gain itself.
    **presets(
        "trainer", "dpo", "sft", "simpo", "ipo", "grpo",
        layers="last:3", learning_rate=1e-3, max_steps=128, warmup_steps=10, precision="bf16",
    ),
    **presets("trainer", "dpo", nll_weight=20.0),
    "benchmark": "shapes",
    **presets("benchmark", "shapes", temperature=2.0, top_p=0.2),
    "threads": 1,
}
