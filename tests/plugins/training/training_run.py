"""One training in a folder, killed at a step if asked to, with the metrics of each step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from silmm_plugins.training.dpo import DpoOptions, dpo
from silmm_plugins.training.pair_loss import PairLossTrainer

from silmm.contracts.models import BaseModel, Preference
from silmm.contracts.training import Observe, Trainer, TrainingJob

QUICK: dict[str, Any] = {
    "max_steps": 8,
    "warmup_steps": 2,
    "learning_rate": 5e-3,
    "batch_size": 8,
    "rank": 4,
    "alpha": 8,
    "checkpoint_every": 3,
}


class KilledError(Exception):
    """Stands for SIGKILL between two steps."""


def dpo_trainer(options: DpoOptions) -> PairLossTrainer:
    """Return the trainer `dpo`, as its registration builds it."""
    return PairLossTrainer(dpo, options)


def job(
    folder: Path, model: BaseModel, data: list[Preference], observe: Observe, *, start: Path | None = None,
    seed: int = 1, **parts: Any,
) -> TrainingJob:
    """Return the job of a training in `folder`; `parts` are `validate` and `rollout`."""
    return TrainingJob(model, data, start, folder / "adapter", folder / "work", seed, observe, **parts)


def train(
    folder: Path,
    trainer: Trainer,
    model: BaseModel,
    data: list[Preference],
    *,
    kill_at: int = 0,
    start: Path | None = None,
    seed: int = 1,
    **parts: Any,
) -> list[Mapping[str, float]]:
    """Train in `folder`; return the metrics of each step, the last of which the trainer returns too."""
    steps: list[Mapping[str, float]] = []

    def observe(step: int, metrics: Mapping[str, float]) -> None:
        steps.append({"step": step, **metrics})
        if step == kill_at:
            raise KilledError

    last = trainer.train(job(folder, model, data, observe, start=start, seed=seed, **parts))
    assert not steps or {k: v for k, v in steps[-1].items() if k != "step"} == last
    return steps


def weights(folder: Path) -> bytes:
    """Return the bytes of the adapter that a training wrote."""
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()
