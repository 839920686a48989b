"""Trainer `dpo`: direct preference optimisation of a discrete model (Eq. 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.contracts.options import option
from silmm_plugins.training.lora.lora_options import LikelihoodOptions
from silmm_plugins.training.pair_loss import PairBatch, register_pair_loss

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from silmm.contracts.registration import Register


class DpoOptions(LikelihoodOptions):
    """Options of `dpo`; the defaults are the paper's for SEED-LLaMA."""

    beta: float = option(
        0.2, "how strongly the policy is held to the reference", gt=0.0, unit="1/nat", paper="App. 9: 0.2 (Eq. 2)"
    )
    nll_weight: float = option(
        0.0,
        "weight of the chosen's mean negative log-likelihood per token, added to the loss against likelihood "
        "collapse (TRL's rpo_alpha); 0 is the paper's loss",
        ge=0.0, unit="1/(nats/token)",
    )
    reference_weight: float = option(
        0.0,
        "weight of log-ratio² / 2, an estimate of the KL in nats per image, mean of chosen and rejected, added to "
        "the loss: holds the policy to the reference on both sides; 0 is the paper's loss",
        ge=0.0, unit="1/(nats/image)",
    )

    @property
    def reward_scale(self) -> float:
        """Beta: the implicit reward is beta times the log-ratio."""
        return self.beta


def dpo(
    policy: Float[Tensor, " candidates"], batch: PairBatch, options: DpoOptions
) -> Float[Tensor, " pairs"]:
    """Return the loss of each pair, (pairs,), in nats: Eq. 2 plus the two optional terms, each with its weight."""
    from silmm_plugins.training import losses

    ratios = losses.log_ratio(policy, batch.reference)
    loss = losses.dpo_loss(losses.pair_margins(ratios, batch.chosen, batch.rejected), options.beta)
    if options.nll_weight:
        loss = loss + options.nll_weight * losses.token_nll(policy, batch.tokens)[batch.chosen]
    if options.reference_weight:
        kl = losses.kl_estimate(ratios)
        loss = loss + options.reference_weight * 0.5 * (kl[batch.chosen] + kl[batch.rejected])
    return loss


def register_trainer(register: Register) -> None:
    """Register `dpo`."""
    register_pair_loss(
        register, "dpo", dpo, DpoOptions, paper="Eq. 2, App. 9",
        summary="Direct preference optimisation of LoRA weights.",
    )
