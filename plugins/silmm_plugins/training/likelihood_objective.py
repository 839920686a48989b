"""Training on log-likelihoods log pi(z|x), against stored ones of the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeAlias

import torch

from silmm.checkpoint.devices import device_of
from silmm.contracts.models import BaseModel, Preference
from silmm_plugins.training import losses, preference_data
from silmm_plugins.training.lora.lora_options import LikelihoodOptions
from silmm_plugins.training.objective import Prepare
from silmm_plugins.training.reference_values import Likelihood, policy_log_likelihood, reference_values

PairLoss: TypeAlias = Callable[[torch.Tensor, preference_data.Batch], torch.Tensor]
"""Loss of each pair, shape (pairs,), from log pi(z|x), shape (candidates,), and the batch."""


class LikelihoodWarning(UserWarning):
    """Warns that the chosen candidates are becoming less likely than under the reference."""


@dataclass(frozen=True)
class LikelihoodObjective:
    """A loss of likelihoods: each candidate of a prompt goes through the model once for all its pairs."""

    model: BaseModel
    preferences: Sequence[Preference]
    reference: Sequence[torch.Tensor]
    """log ref(z|x) of each prompt's candidates, float32 (candidates,) each."""
    pair_loss: PairLoss
    beta: float
    """Scale of the implicit reward in the metrics (Eq. 2)."""
    precision: str
    warn_drop: float
    likelihood: Likelihood = policy_log_likelihood

    width: ClassVar[int] = 6
    flag: ClassVar[str] = "chosen_falls"

    def length(self, position: int) -> int:
        """Return about how many tokens a sequence of this prompt has."""
        return preference_data.length(self.preferences[position])

    def rows(self, position: int) -> int:
        """Return the number of candidates."""
        return len(self.preferences[position].latents)

    def forward(self, positions: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of each pair, (pairs,), and the sums of :meth:`metrics`."""
        device = device_of(self.model.backbone)
        batch = preference_data.collate(
            [self.preferences[i] for i in positions], [self.reference[i] for i in positions], device
        )
        policy = self.likelihood(self.model, batch.prompts, batch.latents, self.precision)
        return self.pair_loss(policy, batch), self._sums(policy.detach(), batch)

    def _sums(self, policy: torch.Tensor, batch: preference_data.Batch) -> torch.Tensor:
        """Return what the metrics need, summed over pairs (the last two over candidates)."""
        ratios = losses.log_ratio(policy, batch.reference)
        margins = losses.pair_margins(ratios, batch.chosen, batch.rejected)
        per_token = ratios / batch.tokens
        return torch.stack(
            [
                self.beta * margins.sum(),
                (margins > 0).sum().to(policy.dtype),
                per_token[batch.chosen].sum(),
                per_token[batch.rejected].sum(),
                losses.kl_estimate(ratios).sum(),
                torch.tensor(float(len(ratios)), device=ratios.device),
            ]
        )

    def metrics(self, sums: Sequence[float], pairs: int) -> dict[str, float]:
        """Return margin and accuracy of the implicit reward, log-ratios a token, and KL an image."""
        margin, right, chosen, rejected, kl, candidates = sums
        return {
            "margin": margin / pairs,
            "accuracy": right / pairs,
            "chosen_logp": chosen / pairs,
            "rejected_logp": rejected / pairs,
            "kl": kl / candidates,
        }

    def warning(self, step: int, metrics: Mapping[str, float]) -> LikelihoodWarning | None:
        """Return a warning where the chosen fell by more than `warn_drop`."""
        if not metrics["chosen_logp"] < -self.warn_drop:
            return None
        return LikelihoodWarning(
            f"step {step}: the chosen candidates are {-metrics['chosen_logp']:.3f} nats/token less "
            f"likely than under the reference (more than trainer.warn_drop={self.warn_drop:g}): the "
            "training may be collapsing. A lower trainer.learning_rate, fewer steps or, for dpo, a "
            "likelihood term (trainer.nll_weight) prevent it."
        )


def prepare_likelihoods(
    model: BaseModel,
    preferences: Sequence[Preference],
    pair_loss: PairLoss,
    options: LikelihoodOptions,
    *,
    beta: float,
    likelihood: Likelihood = policy_log_likelihood,
) -> Prepare:
    """Return what computes the reference's log-likelihoods and then makes the objective."""

    def prepare(work: Path, digest: str) -> LikelihoodObjective:
        reference = reference_values(
            model,
            preferences,
            work=work,
            digest=digest,
            precision=options.precision,
            sequences=max(1, 2 * options.batch_size // options.gradient_accumulation_steps),
            likelihood=likelihood,
        )
        return LikelihoodObjective(
            model, preferences, reference, pair_loss, beta, options.precision, options.warn_drop, likelihood
        )

    return prepare
