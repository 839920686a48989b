"""What the loop relies on in trainers: a PEFT folder, the same bytes again, and after a kill too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from silmm.contracts.models import BaseModel, Preference
from silmm.contracts.training import Observe, Rollout, Trainer, TrainingJob
from silmm.lora.loading import load_adapter
from silmm.testing.cases import Nonconformance
from silmm.testing.training import require_eval_mode


class _Killed(Exception):
    """Raised in the middle of a training."""


def check_trainer(
    make_trainer: Callable[[], Trainer],
    model: BaseModel,
    preferences: Sequence[Preference],
    folder: Path,
    kill_at: int = 2,
    rollout: Rollout | None = None,
) -> Mapping[str, float]:
    """Check that a training gives one adapter, byte for byte, whether or not it is killed on its way.

    After each step nothing of the model may be in training mode: dropout would tell policy and reference
    apart.

    Args:
        make_trainer: returns the trainer with few steps, more than `kill_at`.
        model: the model to train.
        preferences: the pairs to train on.
        folder: an empty folder.
        kill_at: the step after which the second training stops for once.
        rollout: for a trainer that is registered with ``needs={"rollout"}``.

    Returns:
        The metrics that the trainer returned.
    """
    steps: list[int] = []

    def watch(step: int, metrics: Mapping[str, float]) -> None:
        del metrics
        steps.append(step)
        require_eval_mode(model, f"train, step {step}")

    def kill(step: int, metrics: Mapping[str, float]) -> None:
        del metrics
        if step == kill_at:
            raise _Killed

    def train(name: str, observe: Observe) -> Mapping[str, float]:
        out, work = folder / name / "out", folder / name / "work"
        work.mkdir(parents=True, exist_ok=True)
        out.mkdir(exist_ok=True)
        job = TrainingJob(model, preferences, None, out, work, seed=0, observe=observe, rollout=rollout)
        return make_trainer().train(job)

    metrics = train("whole", watch)
    if steps != list(range(1, len(steps) + 1)) or len(steps) <= kill_at:
        raise Nonconformance(f"train: observe is called after each step, 1, 2, …; it heard {steps[:9]}")
    expected = _contents(folder / "whole" / "out")
    if not {"adapter_config.json", "adapter_model.safetensors"} <= set(expected):
        raise Nonconformance(f"train: a PEFT folder is written, not {sorted(expected)}")
    load_adapter(model, folder / "whole" / "out")
    try:
        train("killed", kill)
    except _Killed:
        train("killed", watch)
    else:
        raise Nonconformance("train: an error of observe is swallowed")
    if _contents(folder / "killed" / "out") != expected:
        raise Nonconformance("train: killed and called again, the training wrote other bytes")
    load_adapter(model, None)
    return metrics


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
