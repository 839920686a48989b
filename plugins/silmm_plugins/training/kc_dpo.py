"""Trainer `kc-dpo`: kernel-based preference optimisation of a continuous model (Eq. 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import field_validator

from silmm.contracts.components import Kernel
from silmm.contracts.models import BaseModel, Preference, Validate
from silmm.contracts.options import option
from silmm_plugins.training.lora.lora_options import DistanceOptions, DreamLlmOptions

if TYPE_CHECKING:
    import torch

    from silmm_plugins.training.distance_objective import Distances


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


class KcDpo:
    """Train LoRA weights so that H comes nearer to chosen candidates than to rejected ones."""

    def __init__(self, options: KcDpoOptions, kernel: Kernel | None = None) -> None:
        """Keep options and kernel; None is `avgpool-cos`, the paper's best (Table 3)."""
        self.options = options
        self.kernel = kernel

    def objective(self, distances: Distances, gamma: float) -> torch.Tensor:
        """Return the loss of each pair, shape (pairs,): Eq. 6 plus anchor and restraint."""
        from silmm_plugins.training import losses

        loss = losses.kc_dpo_loss(
            distances.margins(), distances.policy[distances.chosen], gamma, self.options.chosen_weight
        )
        if self.options.reference_weight:
            loss = loss + self.options.reference_weight * gamma * distances.drift
        return loss

    def train(
        self,
        model: BaseModel,
        preferences: Sequence[Preference],
        *,
        start: Path | None,
        out: Path,
        work: Path,
        seed: int,
        observe: Callable[[int, Mapping[str, float]], None],
        validate: Validate | None = None,
    ) -> Mapping[str, float]:
        """Train and write `out`; see :func:`silmm_plugins.training.lora.lora_training.train_lora`.

        Raises:
            DataError: with gamma=auto, candidates that the kernel cannot tell apart.
        """
        from silmm_plugins.training.distance_objective import (
            default_kernel,
            kernel_identity,
            prepare_distances,
            typical_distance,
        )
        from silmm_plugins.training.lora.lora_training import train_lora

        options, kernel = self.options, self.kernel or default_kernel()

        def gamma() -> float:
            if options.gamma == "auto":
                return options.gamma_scale / typical_distance(kernel, preferences)
            return options.gamma

        return train_lora(
            model,
            preferences,
            prepare_distances(model, preferences, kernel, self.objective, options, gamma=gamma),
            options,
            start=start,
            out=out,
            work=work,
            seed=seed,
            observe=observe,
            validate=validate,
            identity=kernel_identity(kernel, preferences),
        )
