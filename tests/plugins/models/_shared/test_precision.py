"""Promises of the number formats: one spelling, what bfloat16 costs, and LoRA weights of 32 bits in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from silmm.checkpoint.devices import dtype_of
from silmm.contracts.models import BaseModel, SamplingParams
from silmm.errors import DataError
from silmm.lora.adapters import new_adapter, trainable_parameters
from silmm.testing.cases import array, trained_value
from tests.plugins.models.every_model import ADAPTERS, PROMPTS, EveryModel, preferences
from tests.plugins.training.training_run import train

NATS, SHARE = 0.05, 0.05
"""How far bfloat16 weights may move a likelihood, a token, and H, of its norm."""
STEPS: dict[str, Any] = {"max_steps": 2, "warmup_steps": 1, "batch_size": 2, "gradient_accumulation_steps": 1,
    "rank": 2}


def distance(rough: BaseModel, exact: BaseModel) -> float:
    """Return how far bfloat16 is from float32 on the same candidates: nats a token, or a share of |H|."""
    latents = exact.represent(PROMPTS, [0, 1], SamplingParams())
    with torch.no_grad():
        a, b = (array(trained_value(model, PROMPTS, latents).float()) for model in (rough, exact))
    if exact.kind == "discrete":
        return float((np.abs(a - b) / [z.size for z in latents]).max())
    return float((np.linalg.norm(a - b, axis=(1, 2)) / np.linalg.norm(b, axis=(1, 2))).max())


@pytest.mark.parametrize("name", ADAPTERS)
def test_bfloat16_is_near_and_trains(every_model: EveryModel, name: str, tmp_path: Path) -> None:
    """In bfloat16 a model stays near float32, samples, answers, and takes finite steps on 32-bit LoRA."""
    exact, rough = (every_model.load(name, dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert {p.dtype for p in layers(exact)} == {torch.float32}
    assert {p.dtype for p in layers(rough)} == {torch.bfloat16}
    far = distance(rough, exact)
    assert 0 < far < (NATS if exact.kind == "discrete" else SHARE)
    data = preferences(rough)
    answers = rough.yes_no(rough.decode([p.latents[0] for p in data], [0, 1]), [["is it red ?"]] * 2)
    assert all(np.isfinite(option).all() for option in answers)
    new_adapter(rough, rank=2, alpha=2, seed=0)
    assert {p.dtype for p in trainable_parameters(rough).values()} == {torch.float32}
    trainer = every_model.registry.build(
        "trainer", "dpo" if exact.kind == "discrete" else "kc-dpo", {**STEPS, "gradient_checkpointing": True}
    )
    steps: list[Mapping[str, float]] = train(tmp_path, trainer, rough, data)
    assert len(steps) == 2
    assert all(math.isfinite(value) for step in steps for value in step.values())
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=1e-3)


def layers(model: BaseModel) -> list[torch.nn.Parameter]:
    """Return the weights that LoRA may stand beside."""
    return [p for name, p in model.backbone.named_parameters() if ".layers." in name and "proj" in name]


def test_formats() -> None:
    """A name is itself, auto is the checkpoint's, silence is float32, and anything else is an error."""
    assert dtype_of("bfloat16", "float32", "here") is torch.bfloat16
    assert dtype_of("auto", "float16", "here") is torch.float16
    assert dtype_of("auto", torch.bfloat16, "here") is torch.bfloat16
    assert dtype_of("auto", None, "here") is torch.float32
    with pytest.raises(DataError, match=r"here says that the weights are 'int8'.*model\.dtype=float32"):
        dtype_of("auto", "int8", "here")


def test_every_adapter_spells_it_alike(every_model: EveryModel) -> None:
    """The place of the weights comes first, then their device and format: one name and choice everywhere."""
    options = [every_model.registry.entry("model", name).options.model_fields for name in ADAPTERS]
    same = ["path", "revision", "device", "dtype", "offload"]
    assert [list(option)[: len(same)] for option in options] == [same] * len(options)
    for field in same:
        assert len({(str(option[field].annotation), option[field].default) for option in options}) == 1
