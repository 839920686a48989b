"""A whole iteration on a DreamLLM folder: prompts, candidates, answers, pairs and a tuned adapter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from silmm.contracts.models import SamplingParams
from silmm.lora.loading import load_adapter
from tests.plugins.models.dreamllm.conftest import load
from tests.plugins.models.short_run import PROMPTS, short_run

SETS = (
    "pair-rule.k=1",
    "trainer.max_steps=3",
    "trainer.learning_rate=0.0005",
    "trainer.gradient_accumulation_steps=1",
    "trainer.warn_rise=1000",
)


@pytest.fixture(params=["written", "golden"])
def folder(request) -> Path:
    """The checkpoint of these tests, and the recorded one where it is at hand."""
    checkpoint: Path = request.getfixturevalue(request.param)
    return checkpoint / "original" if request.param == "golden" else checkpoint


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["dropdiv", "noisy-dreamemb"])
def test_an_iteration_through_all_stages(folder, sampler, tmp_path):
    """Both samplers of the paper's continuous model sample, the model scores itself, and KC-DPO moves its H."""
    run = short_run(tmp_path, "dreamllm", {"path": folder, "steps": 2}, SETS, sampler=sampler)
    model = load(folder)
    before = model.represent(PROMPTS, range(len(PROMPTS)), SamplingParams())
    load_adapter(model, run.iteration(1).adapter)
    after = model.represent(PROMPTS, range(len(PROMPTS)), SamplingParams())
    assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(after, before, strict=True))
