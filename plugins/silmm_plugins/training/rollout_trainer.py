"""Trainers that learn from images of the policy as it stands: sampled, asked about and scored while they train."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from silmm.contracts.training import TrainingJob
from silmm_plugins.training.lora.lora_options import RolloutOptions
from silmm_plugins.training.lora.lora_trainer import LoraTrainer

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from silmm_plugins.training.objectives.objective import Objective
    from silmm_plugins.training.objectives.rollout_objective import RolloutBatch

RolloutT = TypeVar("RolloutT", bound=RolloutOptions)


class RolloutTrainer(LoraTrainer[RolloutT]):
    """Trains LoRA weights on rollouts of a discrete model; a subclass says by which loss."""

    @abstractmethod
    def loss(self, policy: Float[Tensor, "images tokens"], batch: RolloutBatch) -> Float[Tensor, " images"]:
        """Return the loss of each image from log pi of its tokens, differentiable."""

    def objective(self, job: TrainingJob, digest: str) -> Objective:
        """Return the loss of rolled-out images."""
        from silmm_plugins.training.objectives.rollout_objective import RolloutObjective

        return RolloutObjective(job, self.options, self.loss, digest)

    def identity(self, job: TrainingJob) -> Mapping[str, object]:
        """Return the prompts, which decide the rollouts."""
        return {"prompts": [prompt.text for prompt in job.rollout.prompts] if job.rollout else []}
