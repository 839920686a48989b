"""The continuous half as a whole: every sampler samples, features are kept, and `kc-dpo` learns from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import silmm.engine.run
from silmm.engine.preferences import stored_preferences
from silmm.engine.settings_resolution import resolve_settings
from silmm.registry.registry import Registry
from silmm.storage.paths import RunFolder
from tests.toy.tiny_continuous_random import HIDDEN, PROMPTS, QUERIES, TinyContinuousRandom

PLUGIN = """
from silmm import hookimpl

CAPABILITIES = ("chat", "yes_no", "features", "mlp_blocks", "query_embeddings", "rewrite")

@hookimpl
def silmm_register_models(register):
    from tests.toy.tiny_continuous_random import TinyContinuousRandom
    register("random", lambda options: TinyContinuousRandom(), summary="Random.", kind="continuous",
             capabilities=CAPABILITIES)
"""


@pytest.mark.parametrize("sampler", ["dropdiv", "noisy-dreamemb", "rephrase", "explain"])
def test_a_run_of_two_iterations(sampler, tmp_path: Path, fake_distribution, monkeypatch):
    """Pairs of every sampler train two iterations; each kept H is one that was decoded, to bfloat16."""
    decoded = []
    real = TinyContinuousRandom.decode
    monkeypatch.setattr(
        TinyContinuousRandom, "decode", lambda self, z, seeds: decoded.extend(z) or real(self, z, seeds)
    )
    fake_distribution("silmm-random", {"random": "random_plugin"}, {"random_plugin": PLUGIN})
    monkeypatch.setenv("SILMM_LOAD_PLUGINS", "silmm-random,silmm")
    registry = Registry.load()
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(PROMPTS))
    settings = resolve_settings(
        registry,
        flags={
            "model": "random", "sampler": sampler, "trainer": "kc-dpo", "kernel": "avgpool-cos",
            "questioner": "prompt-q", "prompts": str(path), "images_per_prompt": 6, "shard_size": 3,
            "iterations": 2,
        },
        sets=["pair-rule.k=2", "trainer.max_steps=3", "trainer.warmup_steps=1",
            "trainer.gradient_accumulation_steps=1"],
    )
    result = silmm.engine.run.start(settings, tmp_path / "run", registry=registry)
    assert result.summary is not None
    shards = np.stack(decoded).reshape(2, -1, QUERIES, HIDDEN)
    for number in (1, 2):
        folder = RunFolder(tmp_path / "run", 3).iteration(number)
        kept = {
            name: tensor.float().numpy()
            for index in range(2) for name, tensor in load_file(folder.features.data(index)).items()
        }
        assert 0 < len(kept) <= 16
        for h in kept.values():
            assert np.abs(shards[number - 1] - h).max((1, 2)).min() < 0.02
        assert sum(len(preference.latents) for preference in stored_preferences(folder)) == len(kept)
        assert result.summary["counts"][str(number)]["features"]["rows"] == len(kept)
