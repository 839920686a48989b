"""A whole iteration on Emu3 folders: prompts, candidates, answers, pairs and a tuned adapter."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import Emu3ForConditionalGeneration

import silmm.engine.run
from silmm.engine.settings_resolution import resolve_settings
from silmm.registry.registry import Registry
from silmm.storage.paths import RunFolder

PROMPTS = ["a cat", "the red cube is on the left of the blue sphere", "no cat and a sphere", "a red sphere"]


@pytest.fixture(params=["written", "golden"])
def folder(request: pytest.FixtureRequest) -> Path:
    """The -hf folder of the checkpoints of these tests, and the recorded one where it is at hand."""
    actual: Path = request.getfixturevalue(request.param)
    return actual / "Emu3-Gen-hf"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")  # peft's, not ours to mend
def test_an_iteration_through_all_stages(folder: Path, tmp_path: Path) -> None:
    """Gen samples, Chat scores, DPO starts at ln 2, and plain peft loads the result on the stock class."""
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    registry = Registry.load()
    settings = resolve_settings(
        registry,
        flags={
            "model": "emu3", "questioner": "prompt-q", "prompts": str(tmp_path / "prompts.txt"),
            "images_per_prompt": 4, "shard_size": 2, "benchmark": "none",
        },
        sets=[
            f"model.path={folder}", "model.image_area=1024", "model.offload=always", "pair-rule.k=1",
            "trainer.max_steps=2", "trainer.warmup_steps=1", "trainer.batch_size=4",
            "trainer.gradient_accumulation_steps=2",
            "trainer.learning_rate=0.001", "trainer.rank=2", "trainer.warn_drop=1000",
        ],
    )  # fmt: skip
    run = tmp_path / "run"
    assert silmm.engine.run.start(settings, run, registry=registry).summary is not None
    lines = (run / "iter-1" / "metrics.jsonl").read_text().splitlines()
    first = next(step for step in map(json.loads, lines) if step.get("step") == 1)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4)
    adapter = RunFolder(run, 2).iteration(1).adapter
    stock = Emu3ForConditionalGeneration.from_pretrained(str(folder)).eval()
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        before = stock(input_ids=ids).logits
        after = PeftModel.from_pretrained(stock, str(adapter)).eval()(input_ids=ids).logits
    assert float((after - before).abs().max()) > 1e-5
