"""The loop aligns a Janus checkpoint: every stage runs, and plain peft loads what comes out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import JanusForConditionalGeneration

import silmm.engine.run
from silmm.engine.settings_resolution import resolve_settings
from silmm.registry.registry import Registry

pytestmark = pytest.mark.slow

PROMPTS = ("a cat", "A photo of a red cube on the left of a blue sphere.", "three pears", "two cups")
SETS = (
    "pair-rule.k=1", "trainer.max_steps=2", "trainer.warmup_steps=1", "trainer.batch_size=2",
    "trainer.gradient_accumulation_steps=1",
    "trainer.learning_rate=1e-4",
)  # fmt: skip


def align(checkpoint: Path, folder: Path, iterations: int) -> Path:
    """Run all stages on a few prompts and return the run's folder."""
    prompts = folder / "prompts.txt"
    prompts.write_text("\n".join(PROMPTS))
    registry = Registry.load()
    flags = {
        "model": "janus", "prompts": str(prompts), "images_per_prompt": 4, "iterations": iterations,
        "questioner": "prompt-q", "benchmark": "none",
    }  # fmt: skip
    settings = resolve_settings(registry, flags=flags, sets=[*SETS, f"model.path={checkpoint}"])
    silmm.engine.run.start(settings, folder / "run", registry=registry)
    return folder / "run"


def first_step(run: Path, iteration: int) -> dict[str, float]:
    """Return the metrics of an iteration's first step."""
    lines = (run / f"iter-{iteration}" / "metrics.jsonl").read_text().splitlines()
    return next(item for item in map(json.loads, lines) if item.get("step") == 1)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers so
def test_two_iterations(folder, tmp_path):
    """Two iterations go through all stages, start at loss ln 2, and tune the stock class by plain peft."""
    run = align(folder, tmp_path, iterations=2)
    for number in (1, 2):
        step = first_step(run, number)
        assert step["loss"] == pytest.approx(0.693147, abs=1e-4)
        assert step["margin"] == pytest.approx(0, abs=1e-4)
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        stock = JanusForConditionalGeneration.from_pretrained(folder).eval()
        before = stock(input_ids=ids).logits
        tuned = PeftModel.from_pretrained(stock, run / "iter-2" / "adapter").eval()
        assert float((tuned(input_ids=ids).logits - before).abs().max()) > 1e-5


def test_the_recorded_checkpoint(recorded, tmp_path):
    """The recorded folder, given only its path in the original layout, goes through one iteration."""
    run = align(recorded / "original", tmp_path, iterations=1)
    assert first_step(run, 1)["loss"] == pytest.approx(0.693147, abs=1e-4)
    assert (run / "iter-1" / "adapter" / "adapter_model.safetensors").is_file()
