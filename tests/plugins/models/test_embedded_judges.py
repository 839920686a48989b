"""One embedded model samples, the other one judges: both live in the world of shapes."""

from __future__ import annotations

import numpy as np
import pytest

import silmm.engine.run
from silmm.engine.settings_resolution import resolve_settings
from silmm.registry.registry import Registry
from silmm.storage.shards import Shards
from silmm.storage.tables import decode_png


@pytest.mark.slow
def test_tiny_continuous_judges_tiny_discrete(tmp_path):
    """A whole iteration: the stored answers are tiny-continuous's own of tiny-discrete's images."""
    registry = Registry.load()
    settings = resolve_settings(
        registry,
        flags={
            "model": "tiny-discrete", "judge_model": "tiny-continuous", "prompts": 8, "images_per_prompt": 2,
            "shard_size": 4, "benchmark": "none",
        },
        sets=["trainer.max_steps=2", "trainer.warmup_steps=1", "trainer.batch_size=2", "pair-rule.k=1"],
    )
    result = silmm.engine.run.start(settings, tmp_path / "run", registry=registry)
    assert result.summary["judge_model"] == "tiny-continuous"
    assert (result.adapters["1"] / "adapter_model.safetensors").is_file()
    folder = tmp_path / "run" / "iter-1"
    candidates, questions, answers = (
        Shards(folder / name, 2).table().to_pylist() for name in ("candidates", "questions", "answers")
    )
    asked = {}
    for row in questions:
        asked.setdefault(row["prompt_id"], []).append(row["question"])
    shown = [row for row in candidates if row["prompt_id"] in asked]
    images = [decode_png(row["image"]) for row in shown]
    texts = [asked[row["prompt_id"]] for row in shown]
    messages = np.array([(row["p_yes"], row["p_no"]) for row in answers])
    for name, same in (("tiny-continuous", True), ("tiny-discrete", False)):
        model = registry.build("model", name, {})
        expected = np.concatenate(model.yes_no(images, texts))
        assert np.allclose(messages, expected, atol=1e-6) is same
