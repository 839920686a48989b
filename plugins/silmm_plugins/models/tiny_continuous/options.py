"""Capabilities, weights and preset settings of `tiny-continuous`; imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from silmm.contracts.models import Capability

CAPABILITIES: tuple[Capability, ...] = (
    *("chat", "yes_no", "features", "mlp_blocks", "query_embeddings", "rewrite"),
)

WEIGHTS = Path(__file__).parent / "weights"
"""The folder of the shipped weights."""

DEFAULTS: dict[str, object] = {
    "sampler": "dropdiv",
    "sampler.rate": 0.4,
    "sampler.layers": "second-half",
    "sampler.mask": "candidate",
    "trainer": "kc-dpo",
    "kernel": "avgpool-cos",
    "prompts": 1024,
    "images_per_prompt": 16,
    "shard_size": 32,
    "prompter.objects": ["shapes"],
    "prompter.attributes": ["colors", "textures", "shapes"],
    "prompter.relations": ["2d spatial relations", "3d spatial relations"],
    "scorer.question": "{}?",
    "pair-rule.k": 3,
    "trainer.gamma": "auto",
    "trainer.reference_weight": 0.2,
    # The lower half reads images: over iterations, adapters there cost answers and the gain itself.
    "trainer.layers": "last:3",
    "trainer.learning_rate": 3e-3,
    "trainer.batch_size": 288,
    "trainer.gradient_accumulation_steps": 1,
    "trainer.max_steps": 150,
    "trainer.warmup_steps": 10,
    "trainer.precision": "bf16",
    "benchmark": "shapes",
    "benchmark.images_at_temperature_1": 0,
    "threads": 1,
}
