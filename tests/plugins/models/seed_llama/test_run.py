"""A whole iteration with SEED-LLaMA, on a checkpoint of the real classes and on the recorded one."""

import pyarrow.parquet as pq
import pytest
import torch
from silmm_plugins.models.seed_llama.model import SeedLlama
from silmm_plugins.models.seed_llama.options import SeedLlamaOptions

import silmm.engine.run
from silmm.contracts.models import SamplingParams
from silmm.engine.settings_resolution import resolve_settings
from silmm.lora.loading import load_adapter
from silmm.registry.registry import Registry
from silmm.storage.paths import RunFolder
from tests.plugins.models.seed_llama.tiny_checkpoint import UNCLIP, write_unclip

PROMPTS = ["a cat", "the red cube is on the left of the blue sphere", "two dogs and a chair"]


@pytest.fixture(params=["written", "recorded"])
def parts(request, tmp_path) -> dict[str, str]:
    """Return the options that name the parts; the recorded checkpoint has no decoder, so it gets one."""
    if request.param == "written":
        return {"path": str(request.getfixturevalue("checkpoint"))}
    folder = request.getfixturevalue("goldens") / "checkpoints" / "seed-llama"
    write_unclip(tmp_path / UNCLIP, embedding=32)
    return {"path": str(folder), "unclip": str(tmp_path / UNCLIP)}


@pytest.mark.slow
def test_an_iteration_through_all_stages(parts, tmp_path):
    """It samples, asks, scores, pairs and trains from margin 0; the adapter changes the likelihoods."""
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    registry = Registry.load()
    settings = resolve_settings(
        registry,
        flags={
            "model": "seed-llama", "questioner": "prompt-q", "prompts": str(tmp_path / "prompts.txt"),
            "images_per_prompt": 4, "shard_size": 2,
        },
        sets=[
            *(f"model.{name}={value}" for name, value in parts.items()), "model.device=cpu",
            "model.steps=2", "trainer.max_steps=3", "trainer.warmup_steps=1",
            "trainer.learning_rate=0.001", "trainer.gradient_accumulation_steps=1", "trainer.batch_size=3",
            "trainer.rank=2",
        ],
    )  # fmt: skip
    run = tmp_path / "run"
    assert silmm.engine.run.start(settings, run, registry=registry).summary is not None
    folder = RunFolder(run, 2).iteration(1)
    candidates = pq.read_table(run / "iter-1" / "candidates" / "shard-00000.parquet")
    scores = pq.read_table(run / "iter-1" / "scores" / "shard-00000.parquet")["score"].to_pylist()
    assert len(candidates) == len(scores) == 8
    assert len(set(scores)) > 4
    model = SeedLlama.load(SeedLlamaOptions(**parts, device="cpu"))
    codes = model.represent(PROMPTS, range(3), SamplingParams())
    with torch.no_grad():
        before = model.log_likelihood(PROMPTS, codes)
        load_adapter(model, folder.adapter)
        after = model.log_likelihood(PROMPTS, codes)
    assert (before - after).abs().min() > 1e-6
