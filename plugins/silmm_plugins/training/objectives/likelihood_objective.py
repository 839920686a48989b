"""Training on log-likelihoods log pi(z|x), against stored ones of the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch

from silmm.checkpoint.devices import device_of
from silmm.contracts.training import TrainingJob
from silmm_plugins.training import losses
from silmm_plugins.training.lora.lora_options import LikelihoodOptions
from silmm_plugins.training.objectives import preference_data
from silmm_plugins.training.objectives.objective import PairObjective
from silmm_plugins.training.objectives.pair_batch import PairBatch
from silmm_plugins.training.objectives.reference_values import Likelihood, policy_log_likelihood, reference_values

BoundLoss: TypeAlias = Callable[[torch.Tensor, PairBatch], torch.Tensor]
"""Loss of each pair, (pairs,), from log pi(z|x), (candidates,), and the batch."""


class LikelihoodWarning(UserWarning):
    """Warns that the chosen candidates are becoming less likely than under the reference."""


@dataclass(frozen=True)
class LikelihoodObjective(PairObjective):
    """A loss of likelihoods: each candidate of a prompt goes through the model once for all its pairs."""

    reference: Sequence[torch.Tensor]
    """log ref(z|x) of each prompt's candidates, float32 (candidates,) each."""
    pair_loss: BoundLoss
    reward_scale: float
    """Of the implicit reward in the metrics (beta of Eq. 2)."""
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
        """Return the weighted loss of each pair, (pairs,), and the sums of :meth:`metrics`."""
        batch = preference_data.collate(
            [self.preferences[i] for i in positions], [self.reference[i] for i in positions],
            device_of(self.model.backbone),
        )
        policy = self.likelihood(self.model, batch.prompts, batch.latents, self.precision)
        weights = torch.cat([self.weights[i] for i in positions]).to(policy.device)
        return weights * self.pair_loss(policy, batch), self._sums(policy.detach(), batch)

    def _sums(self, policy: torch.Tensor, batch: PairBatch) -> torch.Tensor:
        """Return what the metrics need, summed over pairs (the last two over candidates)."""
        ratios = losses.log_ratio(policy, batch.reference)
        margins = losses.pair_margins(ratios, batch.chosen, batch.rejected)
        per_token = ratios / batch.tokens
        return torch.stack(
            [
                self.reward_scale * margins.sum(),
                (margins > 0).sum().to(policy.dtype),
                per_token[batch.chosen].sum(),
                per_token[batch.rejected].sum(),
                losses.kl_estimate(ratios).sum(),
                torch.tensor(float(len(ratios)), device=ratios.device),
            ]
        )

    def metrics(self, sums: Sequence[float], terms: int) -> dict[str, float]:
        """Return margin and accuracy of the implicit reward, log-ratios per token, and the KL per image."""
        margin, right, chosen, rejected, kl, candidates = sums
        return {
            "margin": margin / terms,
            "accuracy": right / terms,
            "chosen_logp": chosen / terms,
            "rejected_logp": rejected / terms,
            "kl": kl / candidates,
            "pairs": float(terms),
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


def likelihood_objective(
    job: TrainingJob,
    pair_loss: BoundLoss,
    options: LikelihoodOptions,
    digest: str,
    likelihood: Likelihood = policy_log_likelihood,
) -> LikelihoodObjective:
    """Compute the reference's log-likelihoods, unless `job.work` holds them, and return the objective."""
    reference = reference_values(
        job.model,
        job.preferences,
        work=job.work,
        digest=digest,
        precision=options.precision,
        sequences=max(1, 2 * options.batch_size // options.gradient_accumulation_steps),
        likelihood=likelihood,
    )
    weights = preference_data.pair_weights(job.preferences, options.weighting)
    return LikelihoodObjective(
        job.model, job.preferences, weights, options.batch_size, options.precision, reference, pair_loss,
        options.reward_scale, options.warn_drop, likelihood,
    )
