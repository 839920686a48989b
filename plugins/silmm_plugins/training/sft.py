"""Trainer `sft`: the paper's baseline, pull the model toward the chosen candidates (Table 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from silmm.contracts.components import Kernel
from silmm.contracts.models import BaseModel, Preference, Validate
from silmm_plugins.training.lora.lora_options import DistanceOptions, LikelihoodOptions

if TYPE_CHECKING:
    import torch

    from silmm_plugins.training.distance_objective import Distances
    from silmm_plugins.training.objective import Prepare
    from silmm_plugins.training.preference_data import Batch


class SftOptions(LikelihoodOptions, DistanceOptions):
    """Options of `sft`: the optimisation, with SEED-LLaMA's settings, and when to warn.

    `warn_drop` is for discrete models, `warn_rise` for continuous ones. The paper's settings for
    DreamLLM are steps 2000, warmup 200, learning_rate 8e-6.
    """


class Sft:
    """Train LoRA weights toward the chosen; the rejected are measured, not used.

    A discrete model gains likelihood of the chosen, a continuous one comes nearer to them by a kernel.
    """

    def __init__(self, options: SftOptions, kernel: Kernel | None = None) -> None:
        """Keep options and kernel; with a continuous model, None is `avgpool-cos`."""
        self.options = options
        self.kernel = kernel

    def objective(self, policy: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return each pair's chosen mean negative log-likelihood, (pairs,), in nats a token."""
        from silmm_plugins.training import losses

        return losses.token_nll(policy, batch.tokens)[batch.chosen]

    def distance_objective(self, distances: Distances, gamma: float) -> torch.Tensor:
        """Return each pair's k(H, H_w), (pairs,); `gamma` scales the margin of the metrics alone."""
        del gamma
        return distances.policy[distances.chosen]

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
        """Train and write `out`; the margin in the metrics is in nats, or in units of k (factor 1)."""
        from silmm_plugins.training.lora.lora_training import train_lora

        continuous = model.kind == "continuous"
        prepare, identity = (self._distances if continuous else self._likelihoods)(model, preferences)
        return train_lora(
            model,
            preferences,
            prepare,
            self.options,
            start=start,
            out=out,
            work=work,
            seed=seed,
            observe=observe,
            validate=validate,
            identity=identity,
        )

    def _likelihoods(
        self, model: BaseModel, preferences: Sequence[Preference]
    ) -> tuple[Prepare, dict[str, str]]:
        from silmm_plugins.training.likelihood_objective import prepare_likelihoods

        return prepare_likelihoods(model, preferences, self.objective, self.options, beta=1.0), {}

    def _distances(
        self, model: BaseModel, preferences: Sequence[Preference]
    ) -> tuple[Prepare, dict[str, str]]:
        from silmm_plugins.training.distance_objective import (
            default_kernel,
            kernel_identity,
            prepare_distances,
        )

        kernel = self.kernel or default_kernel()
        prepare = prepare_distances(
            model, preferences, kernel, self.distance_objective, self.options, gamma=lambda: 1.0
        )
        return prepare, kernel_identity(kernel, preferences)
