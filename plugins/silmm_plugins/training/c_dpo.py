"""Trainer `c-dpo`: preference optimisation of a continuous model under a fixed Gaussian (Eq. 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.contracts.options import option
from silmm.contracts.training import TrainingJob
from silmm_plugins.kernels.kernels import squared_euclidean
from silmm_plugins.training.distance_trainer import DistanceTrainer
from silmm_plugins.training.lora.lora_options import DistanceOptions, DreamLlmOptions

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from silmm.contracts.registration import Register
    from silmm_plugins.training.objectives.distance_objective import Distances


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


class CDpo(DistanceTrainer[CDpoOptions]):
    """Train LoRA weights by squared Frobenius distances: `kc-dpo` with kernel `eucl` and that gamma."""

    def __init__(self, options: CDpoOptions) -> None:
        """Keep the options; see :class:`CDpoOptions`."""
        super().__init__(options, squared_euclidean)

    def loss(self, distances: Distances, gamma: float) -> Float[Tensor, " pairs"]:
        """Return the loss of each pair, (pairs,): Eq. 5."""
        from silmm_plugins.training import losses

        return losses.dpo_loss(distances.margins(), gamma)

    def gamma(self, job: TrainingJob) -> float:  # noqa: ARG002 - it does not depend on the pairs
        """Return beta / (2 sigma²)."""
        return self.options.beta / (2.0 * self.options.sigma**2)


def register_trainer(register: Register) -> None:
    """Register `c-dpo`."""
    register(
        "c-dpo",
        CDpo,
        options=CDpoOptions,
        requires=["features"],
        kinds=["continuous"],
        paper="Eq. 5",
        summary="Preference optimisation of features by squared Frobenius distances.",
    )
