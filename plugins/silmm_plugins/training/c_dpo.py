"""Trainer `c-dpo`: preference optimisation of a continuous model under a fixed Gaussian (Eq. 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from silmm.contracts.models import BaseModel, Preference, Validate
from silmm.contracts.options import option
from silmm_plugins.training.lora.lora_options import DistanceOptions, DreamLlmOptions

if TYPE_CHECKING:
    import torch

    from silmm_plugins.training.distance_objective import Distances


class CDpoOptions(DreamLlmOptions, DistanceOptions):
    """Options of `c-dpo`; the paper gives beta for DPO and no sigma."""

    beta: float = option(
        0.2, "how strongly the policy is held to the reference", gt=0.0, unit="1/nat", paper="App. 9: 0.2 (for Eq. 2)"
    )
    sigma: float = option(
        1.0,
        "standard deviation of the Gaussian around H, the same for all its numbers",
        gt=0.0, unit="unit of H", paper="Eq. 5 (no value given)",
    )

    @property
    def gamma(self) -> float:
        """The factor of the squared distances in Eq. 5, beta / (2 sigma²)."""
        return self.beta / (2.0 * self.sigma**2)


class CDpo:
    """Train LoRA weights by squared Frobenius distances: `kc-dpo` with kernel `eucl` and that gamma."""

    def __init__(self, options: CDpoOptions) -> None:
        """Keep the options; see :class:`CDpoOptions`."""
        self.options = options

    def objective(self, distances: Distances, gamma: float) -> torch.Tensor:
        """Return the loss of each pair, shape (pairs,): Eq. 5."""
        from silmm_plugins.training import losses

        return losses.dpo_loss(distances.margins(), gamma)

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
        """Train and write `out`; see :func:`silmm_plugins.training.lora.lora_training.train_lora`."""
        from silmm_plugins.kernels.kernels import squared_euclidean
        from silmm_plugins.training.distance_objective import prepare_distances
        from silmm_plugins.training.lora.lora_training import train_lora

        options = self.options
        return train_lora(
            model,
            preferences,
            prepare_distances(
                model, preferences, squared_euclidean, self.objective, options, gamma=lambda: options.gamma
            ),
            options,
            start=start,
            out=out,
            work=work,
            seed=seed,
            observe=observe,
            validate=validate,
        )
