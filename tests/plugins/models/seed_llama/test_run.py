"""A whole iteration with SEED-LLaMA, on a checkpoint of the real classes and on the recorded one."""

import pyarrow.parquet as pq
import pytest
import torch
from silmm_plugins.models.seed_llama.model import SeedLlama
from silmm_plugins.models.seed_llama.options import SeedLlamaOptions

from silmm.contracts.models import SamplingParams
from silmm.lora.loading import load_adapter
from tests.plugins.models.seed_llama.tiny_checkpoint import UNCLIP, write_unclip
from tests.plugins.models.short_run import PROMPTS, short_run

SETS = (
    "trainer.max_steps=3",
    "trainer.learning_rate=0.001",
    "trainer.gradient_accumulation_steps=1",
    "trainer.batch_size=3",
)


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
    iteration = short_run(tmp_path, "seed-llama", {**parts, "device": "cpu", "steps": 2}, SETS).iteration(1)
    candidates = pq.read_table(iteration.path / "candidates" / "shard-00000.parquet")
    scores = pq.read_table(iteration.path / "scores" / "shard-00000.parquet")["score"].to_pylist()
    assert len(candidates) == len(scores) == 8
    assert len(set(scores)) > 4
    model = SeedLlama.load(SeedLlamaOptions(**parts, device="cpu"))
    codes = model.represent(PROMPTS, range(len(PROMPTS)), SamplingParams())
    with torch.no_grad():
        before = model.log_likelihood(PROMPTS, codes)
        load_adapter(model, iteration.adapter)
        after = model.log_likelihood(PROMPTS, codes)
    assert (before - after).abs().min() > 1e-6
