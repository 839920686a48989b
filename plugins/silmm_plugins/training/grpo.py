"""Trainer `grpo`: group-relative policy optimisation on the policy's images (Shao et al. 2024, arXiv 2402.03300)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.contracts.options import option
from silmm_plugins.training.lora.lora_options import RolloutOptions
from silmm_plugins.training.rollout_trainer import RolloutTrainer

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from silmm.contracts.registration import Register
    from silmm_plugins.training.objectives.rollout_objective import RolloutBatch


class GrpoOptions(RolloutOptions):
    """Options of `grpo`."""

    clip: float = option(
        0.2, "epsilon of the clipped ratio; it acts from the second step on a rollout on", gt=0.0, lt=1.0
    )
    kl_weight: float = option(
        0.04, "weight of the KL to the reference", ge=0.0, unit="1/(nats/token)", paper="Shao 2024: 0.04"
    )
    scale: bool = option(True, "divide a prompt's advantages by the standard deviation of its scores")


class Grpo(RolloutTrainer[GrpoOptions]):
    """Train LoRA weights so that images that score above their prompt's mean become likelier, token by token."""

    def loss(self, policy: Float[Tensor, "images tokens"], batch: RolloutBatch) -> Float[Tensor, " images"]:
        """Return the loss of each image, (images,): Eq. 3 of Shao et al. 2024, the mean over its tokens."""
        import torch

        from silmm_plugins.training import losses

        options = self.options
        advantages = torch.cat([losses.group_advantages(scores, options.scale) for scores in batch.scores])
        tokens = losses.clipped_policy_loss(policy - batch.sampled, advantages, options.clip)
        return (tokens + options.kl_weight * losses.k3_estimate(policy, batch.reference)).mean(-1)


def register_trainer(register: Register) -> None:
    """Register `grpo`."""
    register(
        "grpo", Grpo, options=GrpoOptions, requires=["token_log_likelihood"], kinds=["discrete"], needs=["rollout"],
        paper="ours; Shao 2024", summary="On-policy: the policy's own images, scored against others of their prompt.",
    )
