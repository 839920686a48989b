"""Trainer `sft`: the paper's baseline, pull the model toward the chosen candidates (Table 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from silmm.contracts.training import TrainingJob
from silmm_plugins.training.distance_trainer import DistanceTrainer
from silmm_plugins.training.lora.lora_options import DistanceOptions, LikelihoodOptions
from silmm_plugins.training.objectives.pair_batch import PairBatch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from silmm.contracts.registration import Register
    from silmm_plugins.training.objectives.distance_objective import Distances
    from silmm_plugins.training.objectives.objective import Objective


class SftOptions(LikelihoodOptions, DistanceOptions):
    """Options of `sft`: the optimisation, with SEED-LLaMA's settings, and when to warn.

    `warn_drop` is for discrete models, `warn_rise` for continuous ones. The paper's settings for
    DreamLLM are max_steps 2000, warmup_steps 200, learning_rate 8e-6.
    """


class Sft(DistanceTrainer[SftOptions]):
    """Train LoRA weights toward the chosen; the rejected are measured, not used.

    A discrete model gains likelihood of the chosen, a continuous one comes nearer to them by a kernel. The
    margin in the metrics is in nats, or in units of k.
    """

    def objective(self, job: TrainingJob, digest: str) -> Objective:
        """Return the loss of likelihoods, or of distances where the model is continuous."""
        from silmm_plugins.training.objectives.likelihood_objective import likelihood_objective

        if job.model.kind == "continuous":
            return super().objective(job, digest)
        return likelihood_objective(job, chosen_nll, self.options, digest)

    def loss(self, distances: Distances, gamma: float) -> Float[Tensor, " pairs"]:  # noqa: ARG002 - for the metrics alone
        """Return each pair's k(H, H_w), (pairs,)."""
        return distances.policy[distances.chosen]

    def identity(self, job: TrainingJob) -> Mapping[str, object]:
        """Return what tells kernels apart, where one is used."""
        return super().identity(job) if job.model.kind == "continuous" else {}


def chosen_nll(
    policy: Float[Tensor, " candidates"], batch: PairBatch
) -> Float[Tensor, " pairs"]:
    """Return the chosen's mean negative log-likelihood of each pair, (pairs,), in nats per token."""
    from silmm_plugins.training import losses

    return losses.token_nll(policy, batch.tokens)[batch.chosen]


def register_trainer(register: Register) -> None:
    """Register `sft`."""
    register(
        "sft",
        Sft,
        options=SftOptions,
        requires=["log_likelihood", "features"],
        needs=["kernel"],
        paper="Table 3",
        summary="The baseline: the chosen alone, by likelihood or by a kernel's distance.",
    )
