"""Capabilities, weights and preset settings of `tiny-discrete`; imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
    "prompter.objects": ["shapes"],
    "prompter.attributes": ["colors", "textures", "shapes"],
    "prompter.relations": ["2d spatial relations", "3d spatial relations"],
    "sampler.temperature": 1.5,
    "sampler.top_p": 0.5,
    "scorer.question": "{}?",
    "pair-rule.k": 2,
    # The lower half reads images: over iterations, adapters there cost answers and the gain itself.
    "trainer.layers": "last:3",
    "trainer.learning_rate": 1e-3,
    "trainer.max_steps": 128,
    "trainer.warmup_steps": 10,
    "trainer.nll_weight": 20.0,
    "trainer.precision": "bf16",
    "benchmark": "shapes",
    "benchmark.temperature": 2.0,
    "benchmark.top_p": 0.2,
    "threads": 1,
}
