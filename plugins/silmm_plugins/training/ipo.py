"""Trainer `ipo`: identity preference optimisation (Azar et al. 2023, arXiv 2310.12036, Eq. 17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.contracts.options import option
from silmm_plugins.training.lora.lora_options import LikelihoodOptions
from silmm_plugins.training.pair_loss import PairBatch, register_pair_loss

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from silmm.contracts.registration import Register


class IpoOptions(LikelihoodOptions):
    """Options of `ipo`."""

    tau: float = option(
        0.1,
        "strength of the regularisation: the log-ratio of the chosen should be by 1 / (2 tau) nats per image above "
        "the rejected's",
        gt=0.0, unit="1/nat", paper="Azar 2023, Eq. 17",
    )


def ipo(
    policy: Float[Tensor, " candidates"], batch: PairBatch, options: IpoOptions
) -> Float[Tensor, " pairs"]:
    """Return the loss of each pair, (pairs,), in nats²; log-ratios are sums over the tokens, as in the paper."""
    from silmm_plugins.training import losses

    ratios = losses.log_ratio(policy, batch.reference)
    return losses.ipo_loss(losses.pair_margins(ratios, batch.chosen, batch.rejected), options.tau)


def register_trainer(register: Register) -> None:
    """Register `ipo`."""
    register_pair_loss(
        register, "ipo", ipo, IpoOptions, paper="ours; Azar 2023",
        summary="Preference optimisation by a squared distance to a fixed margin.",
    )
