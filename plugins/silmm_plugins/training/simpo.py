"""Trainer `simpo`: preference optimisation without a reference (Meng et al. 2024, arXiv 2405.14734, Eq. 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.contracts.options import option
from silmm_plugins.training.lora.lora_options import LikelihoodOptions
from silmm_plugins.training.pair_loss import PairBatch, register_pair_loss

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from silmm.contracts.registration import Register


class SimpoOptions(LikelihoodOptions):
    """Options of `simpo`; the paper of SimPO tunes beta in 2 to 2.5 and gamma / beta in 0.3 to 0.8 for texts."""

    beta: float = option(
        2.0, "scale of the mean log-likelihood per token", gt=0.0, unit="1/(nats/token)", paper="Meng 2024: 2.0"
    )
    gamma: float = option(
        1.0, "margin that the chosen should have over the rejected", ge=0.0, paper="Meng 2024, Eq. 6: 1.0"
    )


def simpo(
    policy: Float[Tensor, " candidates"], batch: PairBatch, options: SimpoOptions
) -> Float[Tensor, " pairs"]:
    """Return the loss of each pair, (pairs,), in nats; the reference counts in the metrics alone."""
    from silmm_plugins.training import losses

    per_token = -losses.token_nll(policy, batch.tokens)
    return losses.simpo_loss(per_token[batch.chosen], per_token[batch.rejected], options.beta, options.gamma)


def register_trainer(register: Register) -> None:
    """Register `simpo`."""
    register_pair_loss(
        register, "simpo", simpo, SimpoOptions, paper="ours; Meng 2024",
        summary="Preference optimisation of mean log-likelihoods per token, without a reference.",
    )
