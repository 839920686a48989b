"""What all trainers of LoRA weights share: options, an objective, and the loop that trains on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from silmm.contracts.training import TrainingJob
from silmm_plugins.training.lora.lora_options import LoraOptions

if TYPE_CHECKING:
    from silmm_plugins.training.objectives.objective import Objective

OptionsT = TypeVar("OptionsT", bound=LoraOptions)


class LoraTrainer(ABC, Generic[OptionsT]):
    """A trainer of LoRA weights; a subclass says what a step computes. Imports what is heavy when it trains."""

    def __init__(self, options: OptionsT) -> None:
        """Keep the options."""
        self.options = options

    @abstractmethod
    def objective(self, job: TrainingJob, digest: str) -> Objective:
        """Return the losses of the job, with the reference's values, which are those of the model as it stands.

        Args:
            job: its `work` may keep the values, under the digest.
            digest: of everything that the training depends on.
        """

    def identity(self, job: TrainingJob) -> Mapping[str, object]:  # noqa: ARG002 - for those that override it
        """Return what else decides the result besides options, pairs, seed and start: JSON-able."""
        return {}

    def train(self, job: TrainingJob) -> Mapping[str, float]:
        """Train and write `job.out`; see :func:`silmm_plugins.training.lora.lora_training.train_lora`."""
        from silmm_plugins.training.lora.lora_training import train_lora

        return train_lora(job, self.options, partial(self.objective, job), self.identity(job))
