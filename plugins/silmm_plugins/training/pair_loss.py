"""Trainers of likelihoods: a function from log-likelihoods and a batch of pairs to losses is all that one needs.

A package registers its own by three names of this module::

    def hinge(policy: torch.Tensor, batch: PairBatch, options: LikelihoodOptions) -> torch.Tensor:
        ratios = policy - batch.reference
        return (1 - ratios[batch.chosen] + ratios[batch.rejected]).clamp(min=0)

    @hookimpl
    def silmm_register_trainers(register):
        register_pair_loss(register, "hinge", hinge, summary="A hinge on the log-ratios.")
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from silmm.contracts.training import TrainingJob
from silmm_plugins.training.lora.lora_options import LikelihoodOptions
from silmm_plugins.training.lora.lora_trainer import LoraTrainer
from silmm_plugins.training.objectives.pair_batch import PairBatch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from silmm.contracts.registration import Register
    from silmm_plugins.training.objectives.objective import Objective

__all__ = ["PairBatch", "PairLoss", "PairLossTrainer", "register_pair_loss"]

class PairLoss(Protocol):
    """A loss of log-likelihoods: a plain function will do."""

    def __call__(
        self, policy: Float[Tensor, " candidates"], batch: PairBatch, options: Any
    ) -> Float[Tensor, " pairs"]:
        """Return the loss of each pair, (pairs,).

        Args:
            policy: log pi(z|x) of the candidates, (candidates,), in nats, differentiable.
            batch: the candidates' reference values, lengths and pairs.
            options: of the registration's class.
        """
        ...


class PairLossTrainer(LoraTrainer[LikelihoodOptions]):
    """Trains LoRA weights on a :class:`PairLoss`; each pair's loss is weighted, then the mean is taken."""

    def __init__(self, loss: PairLoss, options: LikelihoodOptions) -> None:
        """Keep the loss and its options."""
        super().__init__(options)
        self.loss = loss

    def objective(self, job: TrainingJob, digest: str) -> Objective:
        """Return the loss of likelihoods against the reference's stored ones."""
        from silmm_plugins.training.objectives.likelihood_objective import likelihood_objective

        return likelihood_objective(job, partial(self.loss, options=self.options), self.options, digest)


def register_pair_loss(
    register: Register,
    name: str,
    loss: PairLoss,
    options: type[LikelihoodOptions] = LikelihoodOptions,
    *,
    summary: str,
    paper: str = "",
) -> None:
    """Register the trainer `name` of discrete models: LoRA weights, this loss, and all that trainers share.

    Args:
        register: the callback of ``silmm_register_trainers``.
        name: on the command line.
        loss: ``loss(policy, batch, options)``; imports what is heavy inside.
        options: its options, in addition to those of all trainers of likelihoods.
        summary: one line of help.
        paper: where the paper describes it.
    """
    register(
        name, partial(PairLossTrainer, loss), options=options, requires=["log_likelihood"], kinds=["discrete"],
        paper=paper, summary=summary,
    )
