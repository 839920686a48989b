"""Trainer `kc-dpo`: kernel-based preference optimisation of a continuous model (Eq. 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import field_validator

from silmm.contracts.options import option
from silmm.contracts.training import TrainingJob
from silmm_plugins.training.distance_trainer import DistanceTrainer
from silmm_plugins.training.lora.lora_options import DistanceOptions, DreamLlmOptions

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from silmm.contracts.registration import Register
    from silmm_plugins.training.objectives.distance_objective import Distances


class KcDpoOptions(DreamLlmOptions, DistanceOptions):
    """Options of `kc-dpo`; the defaults are the paper's for DreamLLM."""

    gamma: float | Literal["auto"] = option(
        3.0,
        "how strongly the policy is held to the reference: a number above 0, or auto, which is gamma_scale "
        "divided by the median distance between chosen and rejected candidates",
        unit="1/distance", paper="App. 9: 3.0 (Eq. 6)",
    )
    gamma_scale: float = option(3.0, "what gamma=auto divides by the median distance; not used with a number", gt=0.0)
    chosen_weight: float = option(
        0.0,
        "weight of gamma times the distance to the chosen, added to the loss against running away from both "
        "sides; 0 is the paper's loss",
        ge=0.0,
    )
    reference_weight: float = option(
        0.0,
        "weight of gamma times the distance to the reference's features k(H, H_r), added to the loss: holds the "
        "policy where it started in all that the pairs say nothing of; 0 is the paper's loss",
        ge=0.0,
    )

    @field_validator("gamma")
    @classmethod
    def _positive(cls, value: float | str) -> float | str:
        if not isinstance(value, str) and value <= 0:
            raise ValueError("give a number above 0, or auto")
        return value


class KcDpo(DistanceTrainer[KcDpoOptions]):
    """Train LoRA weights so that H comes nearer to chosen candidates than to rejected ones."""

    def loss(self, distances: Distances, gamma: float) -> Float[Tensor, " pairs"]:
        """Return the loss of each pair, (pairs,): Eq. 6 plus the two optional terms, each with its weight."""
        from silmm_plugins.training import losses

        loss = losses.kc_dpo_loss(
            distances.margins(), distances.policy[distances.chosen], gamma, self.options.chosen_weight
        )
        if self.options.reference_weight:
            loss = loss + self.options.reference_weight * gamma * distances.drift
        return loss

    def gamma(self, job: TrainingJob) -> float:
        """Return gamma; "auto" is measured on the pairs.

        Raises:
            DataError: with gamma=auto, candidates that the kernel cannot tell apart.
        """
        from silmm_plugins.training.objectives.distance_objective import typical_distance

        if self.options.gamma == "auto":
            return self.options.gamma_scale / typical_distance(self.kernel, job.preferences)
        return self.options.gamma


def register_trainer(register: Register) -> None:
    """Register `kc-dpo`."""
    register(
        "kc-dpo",
        KcDpo,
        options=KcDpoOptions,
        requires=["features"],
        kinds=["continuous"],
        needs=["kernel"],
        paper="Eq. 6, App. 9",
        summary="Preference optimisation of features by a kernel's distances.",
    )
