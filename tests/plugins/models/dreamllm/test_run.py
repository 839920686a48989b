"""A whole iteration on a DreamLLM folder: prompts, candidates, answers, pairs and a tuned adapter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import silmm.engine.run
from silmm.contracts.models import SamplingParams
from silmm.engine.settings_resolution import resolve_settings
from silmm.lora.loading import load_adapter
from silmm.registry.registry import Registry
from silmm.storage.paths import RunFolder
from tests.plugins.models.dreamllm.conftest import load

PROMPTS = ["a cat", "the red cube is on the left of the blue sphere", "no cat and a sphere", "a red sphere"]


@pytest.fixture(params=["written", "golden"])
def folder(request) -> Path:
    """The checkpoint of these tests, and the recorded one where it is at hand."""
    actual: Path = request.getfixturevalue(request.param)
    return actual / "original" if request.param == "golden" else actual


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["dropdiv", "noisy-dreamemb"])
def test_an_iteration_through_all_stages(folder, sampler, tmp_path):
    """Both samplers of the paper's continuous model sample, the model scores itself, and KC-DPO moves its H."""
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    registry = Registry.load()
    settings = resolve_settings(
        registry,
        flags={
            "model": "dreamllm", "sampler": sampler, "questioner": "prompt-q",
            "prompts": str(tmp_path / "prompts.txt"), "images_per_prompt": 4, "shard_size": 2,
        },
        sets=[
            f"model.path={folder}", "model.steps=2", "pair-rule.k=1", "trainer.max_steps=3", "trainer.warmup_steps=1",
            "trainer.learning_rate=0.0005", "trainer.gradient_accumulation_steps=1", "trainer.rank=2",
            "trainer.warn_rise=1000",
        ],
    )  # fmt: skip
    run = tmp_path / "run"
    assert silmm.engine.run.start(settings, run, registry=registry).summary is not None
    model = load(folder)
    before = model.represent(PROMPTS, range(4), SamplingParams())
    load_adapter(model, RunFolder(run, 2).iteration(1).adapter)
    after = model.represent(PROMPTS, range(4), SamplingParams())
    assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(after, before, strict=True))
