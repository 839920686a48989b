"""A whole iteration on a Qwen-Image pipeline: candidates by DropDiv, own answers, pairs, a tuned adapter."""

from __future__ import annotations

import json

import numpy as np
import pytest

from silmm.contracts.models import SamplingParams
from silmm.lora.loading import load_adapter
from tests.plugins.models.short_run import PROMPTS, short_run
from tests.plugins.models.vlm_diffusion.conftest import SMALL, load

SETS = (
    "pair-rule.k=1",
    "trainer.max_steps=2",
    "trainer.learning_rate=0.0005",
    "trainer.gradient_accumulation_steps=1",
    "trainer.warn_rise=1000",
    "sampler.layers=last:1",
)


@pytest.mark.slow
def test_an_iteration_through_all_stages(written, tmp_path):
    """The model samples, scores itself and is tuned; its H moves, and the adapter is the run's."""
    run = short_run(tmp_path, "vlm-diffusion", {"path": written, **SMALL}, SETS, images_per_prompt=3)
    assert json.loads(run.identity.read_text())["settings"]["sampler"] == "dropdiv"
    model = load(written)
    before = model.represent(PROMPTS, range(len(PROMPTS)), SamplingParams())
    load_adapter(model, run.iteration(1).adapter)
    after = model.represent(PROMPTS, range(len(PROMPTS)), SamplingParams())
    assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(after, before, strict=True))
