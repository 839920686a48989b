"""The contract of a trainer: one job in, a PEFT folder and metrics out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from silmm.contracts.candidates import Candidate, Prompt
from silmm.contracts.models import BaseModel, Preference, Validate

Observe: TypeAlias = Callable[[int, Mapping[str, float]], None]
"""Called with a step (1-based) and its metrics, before a checkpoint of that step is stored."""


class Rollout(Protocol):
    """Samples the policy as it stands, asks and scores: what an on-policy trainer learns from."""

    @property
    def prompts(self) -> Sequence[Prompt]:
        """The prompts of the iteration that are trained on."""
        ...

    def __call__(self, prompts: Sequence[Prompt], images_per_prompt: int, step: int) -> list[list[Candidate]]:
        """Return the scored candidates of each prompt.

        They are kept as tables under the step: called again after a kill, the same step gives the stored ones.
        """
        ...


@dataclass(frozen=True)
class TrainingJob:
    """Everything that a training gets."""

    model: BaseModel
    """Carries whatever adapter it had; :attr:`start` is the reference."""
    preferences: Sequence[Preference]
    """The pairs, without those of prompts that validation holds back."""
    start: Path | None
    """Adapter to go on from, the reference; None: a fresh adapter on the base."""
    out: Path
    """The PEFT folder to write."""
    work: Path
    """Checkpoints and stored reference values: called again after a kill, training goes on to the same bytes."""
    seed: int
    """Of the data order and of a fresh adapter."""
    observe: Observe
    validate: Validate | None = None
    """Given to trainers whose options are a ``ValidationOptions`` with `validate_every` above 0."""
    rollout: Rollout | None = None
    """Given to trainers that are registered with ``needs={"rollout"}``."""


class Trainer(Protocol):
    """Step 5: tunes LoRA weights."""

    def train(self, job: TrainingJob) -> Mapping[str, float]:
        """Train from adapter `job.start` and write the PEFT folder `job.out`; return the final metrics.

        The model as it stands with `job.start` is the reference. Called again after a kill, the training goes
        on from what `job.work` holds, to the same result. `job.observe(step, metrics)` is called after each
        optimizer step, before a checkpoint of that step is stored, so that a resumed training misses no step.
        With several processes `job.validate` is called by rank 0 alone, which hands the score to the others;
        a validation's score is the metric `validation_score` of its step.
        """
        ...
