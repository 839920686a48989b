"""Trainer `dpo`: direct preference optimisation of a discrete model (Eq. 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from silmm.contracts.models import BaseModel, Preference, Validate
from silmm.contracts.options import option
from silmm_plugins.training.lora.lora_options import LikelihoodOptions

if TYPE_CHECKING:
    import torch

    from silmm_plugins.training.preference_data import Batch


class DpoOptions(LikelihoodOptions):
    """Options of `dpo`; the defaults are the paper's for SEED-LLaMA."""

    beta: float = option(
        0.2, "how strongly the policy is held to the reference", gt=0.0, unit="1/nat", paper="App. 9: 0.2 (Eq. 2)"
    )
    nll_weight: float = option(
        0.0,
        "weight of the chosen's mean negative log-likelihood a token, added to the loss against likelihood "
        "collapse; 0 is the paper's loss",
        ge=0.0, unit="1/(nats/token)",
    )


class Dpo:
    """Train LoRA weights so that chosen candidates gain likelihood over rejected ones."""

    def __init__(self, options: DpoOptions) -> None:
        """Keep the options; see :class:`DpoOptions`."""
        self.options = options

    def objective(self, policy: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the loss of each pair, shape (pairs,), in nats: Eq. 2 plus `nll` times the term.

        Args:
            policy: log pi(z|x), shape (candidates,).
            batch: the candidates' reference values and pairs.
        """
        from silmm_plugins.training import losses

        ratios = losses.log_ratio(policy, batch.reference)
        margins = losses.pair_margins(ratios, batch.chosen, batch.rejected)
        loss = losses.dpo_loss(margins, self.options.beta)
        if self.options.nll_weight:
            loss = loss + self.options.nll_weight * losses.token_nll(policy, batch.tokens)[batch.chosen]
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
        """Train and write `out`; see :func:`silmm_plugins.training.lora.lora_training.train_lora`."""
        from silmm_plugins.training.likelihood_objective import prepare_likelihoods
        from silmm_plugins.training.lora.lora_training import train_lora

        return train_lora(
            model,
            preferences,
            prepare_likelihoods(
                model, preferences, self.objective, self.options, beta=self.options.beta
            ),
            self.options,
            start=start,
            out=out,
            work=work,
            seed=seed,
            observe=observe,
            validate=validate,
        )
