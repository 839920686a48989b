"""A whole iteration on Emu3 folders: prompts, candidates, answers, pairs and a tuned adapter."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import Emu3ForConditionalGeneration

from tests.plugins.models.short_run import first_step, short_run

SETS = (
    "pair-rule.k=1",
    "trainer.max_steps=2",
    "trainer.batch_size=4",
    "trainer.gradient_accumulation_steps=2",
    "trainer.learning_rate=0.001",
    "trainer.warn_drop=1000",
)


@pytest.fixture(params=["written", "golden"])
def folder(request: pytest.FixtureRequest) -> Path:
    """The -hf folder of the checkpoints of these tests, and the recorded one where it is at hand."""
    checkpoints: Path = request.getfixturevalue(request.param)
    return checkpoints / "Emu3-Gen-hf"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")  # peft's, not ours to mend
def test_an_iteration_through_all_stages(folder: Path, tmp_path: Path) -> None:
    """Gen samples, Chat scores, DPO starts at ln 2, and plain peft loads the result on the stock class."""
    options = {"path": folder, "image_area": 1024, "offload": "always"}
    iteration = short_run(tmp_path, "emu3", options, SETS).iteration(1)
    assert first_step(iteration)["loss"] == pytest.approx(math.log(2), abs=1e-4)
    stock = Emu3ForConditionalGeneration.from_pretrained(str(folder)).eval()
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        before = stock(input_ids=ids).logits
        after = PeftModel.from_pretrained(stock, str(iteration.adapter)).eval()(input_ids=ids).logits
    assert float((after - before).abs().max()) > 1e-5
