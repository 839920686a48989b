"""Trainers of distances k(H, H_w) and k(H, H_l) of a continuous model's features."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from silmm.contracts.components import Kernel
from silmm.contracts.training import TrainingJob
from silmm.registry.kernels import ComposedKernel
from silmm_plugins.kernels.kernels import avgpool, one_minus_cosine
from silmm_plugins.training.lora.lora_options import DistanceOptions
from silmm_plugins.training.lora.lora_trainer import LoraTrainer

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from silmm_plugins.training.objectives.distance_objective import Distances
    from silmm_plugins.training.objectives.objective import Objective

DistanceT = TypeVar("DistanceT", bound=DistanceOptions)


class DistanceTrainer(LoraTrainer[DistanceT]):
    """Trains LoRA weights on a loss of distances; a subclass says which."""

    def __init__(self, options: DistanceT, kernel: Kernel | None = None) -> None:
        """Keep options and kernel; None is `avgpool-cos`, the paper's best (Table 3)."""
        super().__init__(options)
        self.kernel = kernel or ComposedKernel(avgpool, one_minus_cosine)

    @abstractmethod
    def loss(self, distances: Distances, gamma: float) -> Float[Tensor, " pairs"]:
        """Return the loss of each pair."""

    def gamma(self, job: TrainingJob) -> float:  # noqa: ARG002 - for those that override it
        """Return the factor of distances in loss and metrics, per unit of k."""
        return 1.0

    def objective(self, job: TrainingJob, digest: str) -> Objective:
        """Return the loss of distances against the reference's stored features."""
        from silmm_plugins.training.objectives.distance_objective import distance_objective

        return distance_objective(job, self.kernel, self.loss, self.gamma(job), self.options, digest)

    def identity(self, job: TrainingJob) -> Mapping[str, object]:
        """Return what tells kernels apart."""
        from silmm_plugins.training.objectives.distance_objective import kernel_identity

        return kernel_identity(self.kernel, job.preferences)
