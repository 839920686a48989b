"""A whole iteration on a Qwen-Image pipeline: candidates by DropDiv, own answers, pairs, a tuned adapter."""

from __future__ import annotations

import numpy as np
import pytest

import silmm.engine.run
from silmm.contracts.models import SamplingParams
from silmm.engine.settings_resolution import resolve_settings
from silmm.lora.loading import load_adapter
from silmm.registry.registry import Registry
from silmm.storage.paths import RunFolder
from tests.plugins.models.vlm_diffusion.conftest import SMALL, load

PROMPTS = ["a cat", "the red cube is on the left of the blue sphere", "no cat and a sphere"]


@pytest.mark.slow
def test_an_iteration_through_all_stages(written, tmp_path):
    """The model samples, scores itself and is tuned; its H moves, and the adapter is the run's."""
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    registry = Registry.load()
    settings = resolve_settings(
        registry,
        flags={
            "model": "vlm-diffusion", "questioner": "prompt-q", "prompts": str(tmp_path / "prompts.txt"),
            "images_per_prompt": 3, "shard_size": 2,
        },
        sets=[
            f"model.path={written}", *(f"model.{name}={value}" for name, value in SMALL.items()), "pair-rule.k=1",
            "trainer.max_steps=2", "trainer.warmup_steps=1", "trainer.learning_rate=0.0005",
            "trainer.gradient_accumulation_steps=1",
            "trainer.rank=2", "trainer.warn_rise=1000", "sampler.layers=last:1",
        ],
    )  # fmt: skip
    assert settings.sampler == "dropdiv"
    assert silmm.engine.run.start(settings, tmp_path / "run", registry=registry).summary is not None
    model = load(written)
    before = model.represent(PROMPTS, range(3), SamplingParams())
    load_adapter(model, RunFolder(tmp_path / "run", 2).iteration(1).adapter)
    after = model.represent(PROMPTS, range(3), SamplingParams())
    assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(after, before, strict=True))
