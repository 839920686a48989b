"""A short run of the loop on a small checkpoint, as the tests of each adapter start it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import silmm.engine.run
from silmm.engine.settings_resolution import resolve_settings
from silmm.registry.registry import Registry
from silmm.storage.paths import IterationFolder, RunFolder

SHARD_SIZE = 2
PROMPTS = ("a cat", "the red cube is on the left of the blue sphere", "no cat and a sphere", "a red sphere")
SETS = ("trainer.warmup_steps=1", "trainer.rank=2")


def short_run(
    folder: Path, model: str, options: Mapping[str, object], sets: Sequence[str], **flags: object
) -> RunFolder:
    """Run all stages on ``PROMPTS``, each its own question, and return the run's folder.

    Args:
        folder: where to run.
        model: name of the base model.
        options: of the base model.
        sets: further ``--set`` assignments.
        flags: further settings.
    """
    prompts = folder / "prompts.txt"
    prompts.write_text("\n".join(PROMPTS))
    registry = Registry.load()
    settings = resolve_settings(
        registry,
        flags={
            "model": model, "questioner": "prompt-q", "prompts": str(prompts), "images_per_prompt": 4,
            "shard_size": SHARD_SIZE, "benchmark": "none", **flags,
        },
        sets=[*(f"model.{name}={value}" for name, value in options.items()), *SETS, *sets],
    )  # fmt: skip
    assert silmm.engine.run.start(settings, folder / "run", registry=registry).summary is not None
    return RunFolder(folder / "run", SHARD_SIZE)


def first_step(iteration: IterationFolder) -> dict[str, float]:
    """Return the metrics of an iteration's first training step."""
    records = map(json.loads, iteration.metrics.read_text().splitlines())
    return next(record for record in records if record.get("step") == 1)
