"""The loop aligns a Janus checkpoint: every stage runs, and plain peft loads what comes out."""

from __future__ import annotations

import math

import pytest
import torch
from peft import PeftModel
from transformers import JanusForConditionalGeneration

from tests.plugins.models.short_run import first_step, short_run

pytestmark = pytest.mark.slow

SETS = (
    "pair-rule.k=1",
    "trainer.max_steps=2",
    "trainer.batch_size=2",
    "trainer.gradient_accumulation_steps=1",
    "trainer.learning_rate=1e-4",
)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers so
def test_two_iterations(folder, tmp_path):
    """Two iterations go through all stages, start at loss ln 2, and tune the stock class by plain peft."""
    run = short_run(tmp_path, "janus", {"path": folder}, SETS, iterations=2)
    for number in (1, 2):
        step = first_step(run.iteration(number))
        assert step["loss"] == pytest.approx(math.log(2), abs=1e-4)
        assert step["margin"] == pytest.approx(0, abs=1e-4)
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        stock = JanusForConditionalGeneration.from_pretrained(folder).eval()
        before = stock(input_ids=ids).logits
        tuned = PeftModel.from_pretrained(stock, run.iteration(2).adapter).eval()
        assert float((tuned(input_ids=ids).logits - before).abs().max()) > 1e-5


def test_the_recorded_checkpoint(recorded, tmp_path):
    """The recorded folder, given only its path in the original layout, goes through one iteration."""
    iteration = short_run(tmp_path, "janus", {"path": recorded / "original"}, SETS).iteration(1)
    assert first_step(iteration)["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert (iteration.adapter / "adapter_model.safetensors").is_file()
