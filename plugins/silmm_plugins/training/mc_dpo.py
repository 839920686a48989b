"""Trainer `mc-dpo`: preference optimisation under a likelihood estimated by MC dropout (Sec. 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from pydantic import field_validator

from silmm.contracts.models import BaseModel, Latent
from silmm.contracts.options import option
from silmm.contracts.training import TrainingJob
from silmm_plugins.training.lora.lora_options import DreamLlmOptions, LikelihoodOptions
from silmm_plugins.training.lora.lora_trainer import LoraTrainer

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from silmm.contracts.registration import Register
    from silmm_plugins.training.objectives.objective import Objective
    from silmm_plugins.training.objectives.pair_batch import PairBatch


class McDpoOptions(DreamLlmOptions, LikelihoodOptions):
    """Options of `mc-dpo`; the paper tried the idea and gives no settings."""

    beta: float = option(
        0.2, "how strongly the policy is held to the reference", gt=0.0, unit="1/nat", paper="App. 9: 0.2 (for Eq. 2)"
    )
    passes: int = option(
        8,
        "forward passes with dropout that a mean and a variance are estimated from",
        ge=2, unit="passes", paper="Sec. 3.2 (no value given)",
    )
    rate: float = option(
        0.1,
        "share of the MLP blocks' outputs that is dropped, in all layers and positions",
        gt=0.0, lt=1.0, unit="share", paper="Sec. 3.2 (no value given)",
    )
    floor: float = option(
        1e-2, "added to each variance: few passes find some far too small", gt=0.0, unit="(unit of H)²"
    )

    @field_validator("gradient_checkpointing")
    @classmethod
    def _remember(cls, value: bool) -> bool:
        if value:  # the dropout is in the layers during the forward pass alone
            raise ValueError("mc-dpo cannot recompute layers; a larger gradient_accumulation_steps saves memory too")
        return value

    @property
    def reward_scale(self) -> float:
        """Beta: the implicit reward is beta times the log-ratio."""
        return self.beta


class McDpo(LoraTrainer[McDpoOptions]):
    """Train LoRA weights by Eq. 2 with log pi(H|x) of a Gaussian over stochastic forward passes.

    The paper calls this "insufficient and impractical" (Sec. 3.2), and that is what it is here for: a
    prompt costs `passes` forward and backward passes where `kc-dpo` needs one, and a few passes say
    little about the variance of L×D numbers.

    The masks of a prompt come from (seed, prompt, pass) alone. So policy and reference are compared
    under the same masks, at step 1 they are one, and the reference's values can be stored.
    """

    def objective(self, job: TrainingJob, digest: str) -> Objective:
        """Return the loss of estimated likelihoods; log-ratios in the metrics are nats per number of H."""
        from silmm_plugins.training.objectives.likelihood_objective import likelihood_objective

        return likelihood_objective(
            job, self.loss, self.options, digest, likelihood=partial(self.log_likelihood, seed=job.seed)
        )

    def loss(self, policy: Float[Tensor, " candidates"], batch: PairBatch) -> Float[Tensor, " pairs"]:
        """Return the loss of each pair, in nats: Eq. 2."""
        from silmm_plugins.training import losses

        ratios = losses.log_ratio(policy, batch.reference)
        return losses.dpo_loss(losses.pair_margins(ratios, batch.chosen, batch.rejected), self.options.beta)

    def log_likelihood(
        self,
        model: BaseModel,
        prompts: Sequence[str],
        latents: Sequence[Latent],
        precision: str,
        *,
        seed: int,
    ) -> Float[Tensor, " batch"]:
        """Return log pi(H_c|x) of each candidate, float32, in nats; differentiable.

        The candidates of a prompt share its passes, which go through the model together.

        Args:
            model: declares `features` and `mlp_blocks`.
            prompts: one for each candidate.
            latents: the candidates, (L, D) each.
            precision: "fp32" or "bf16", of the forward passes.
            seed: of the masks.
        """
        import numpy as np
        import torch

        from silmm.seeds import derive
        from silmm_plugins.models._shared.mlp_dropout import MlpDropoutOptions, mlp_dropout
        from silmm_plugins.training.losses import gaussian_log_likelihood
        from silmm_plugins.training.objectives.reference_features import policy_features

        passes, distinct = self.options.passes, list(dict.fromkeys(prompts))
        rows = [prompt for prompt in distinct for _ in range(passes)]
        seeds = [derive(seed, "mc-dropout", prompt, n) for prompt in distinct for n in range(passes)]
        dropout = MlpDropoutOptions(rate=self.options.rate, layers="all", positions="all")
        with mlp_dropout(model, seeds, dropout, queries=len(latents[0])):
            sampled = policy_features(model, rows, precision)
        owner = torch.tensor([distinct.index(prompt) for prompt in prompts], device=sampled.device)
        z = torch.from_numpy(np.stack([np.asarray(latent, dtype=np.float32) for latent in latents]))
        sampled = sampled.reshape(len(distinct), passes, *sampled.shape[1:])
        mean, variance = sampled.mean(1), sampled.var(1) + self.options.floor
        return gaussian_log_likelihood(z.to(sampled.device), mean[owner], variance[owner])


def register_trainer(register: Register) -> None:
    """Register `mc-dpo`."""
    register(
        "mc-dpo",
        McDpo,
        options=McDpoOptions,
        requires=["features", "mlp_blocks"],
        kinds=["continuous"],
        paper="Sec. 3.2",
        summary="The costly way: a Gaussian likelihood from many passes with dropout.",
    )
