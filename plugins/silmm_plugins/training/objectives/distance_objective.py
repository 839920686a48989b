"""Training on distances k(H, H_w) and k(H, H_l) of a continuous model's features, one H per prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np
import torch

from silmm.contracts.components import Kernel
from silmm.contracts.models import Latent, Preference
from silmm.contracts.training import TrainingJob
from silmm.errors import DataError
from silmm_plugins.training import losses
from silmm_plugins.training.lora.lora_options import DistanceOptions
from silmm_plugins.training.objectives import preference_data
from silmm_plugins.training.objectives.objective import PairObjective
from silmm_plugins.training.objectives.reference_features import StoredFeatures, policy_features, reference_features

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


@dataclass(frozen=True)
class Distances:
    """How far policy and reference are from each candidate of some prompts, and the pairs among them."""

    policy: Float[Tensor, " candidates"]
    """k(H, H_c) of each candidate c, float32, differentiable."""
    reference: Float[Tensor, " candidates"]
    """k(H_r, H_c)."""
    chosen: Int[Tensor, " pairs"]
    """Positions of the pairs' chosen candidates."""
    rejected: Int[Tensor, " pairs"]
    """Positions of the pairs' rejected candidates."""
    drift: Float[Tensor, " pairs"]
    """k(H, H_r) of each pair's prompt, differentiable."""

    def margins(self) -> Float[Tensor, " pairs"]:
        """Return -k(H,H_w) + k(H_r,H_w) + k(H,H_l) - k(H_r,H_l) of each pair (Eq. 6)."""
        return losses.pair_margins(self.reference - self.policy, self.chosen, self.rejected)


DistanceLoss: TypeAlias = Callable[[Distances, float], torch.Tensor]
"""Loss of each pair, shape (pairs,), from the distances and gamma."""


class DistanceWarning(UserWarning):
    """Warns that the policy moves away from the chosen candidates."""


@dataclass(frozen=True)
class DistanceObjective(PairObjective):
    """A loss of distances: the k×k pairs of a prompt cost one forward pass and 2k distances."""

    reference: StoredFeatures | Sequence[torch.Tensor]
    kernel: Kernel
    pair_loss: DistanceLoss
    gamma: float
    warn_rise: float

    width: ClassVar[int] = 8
    flag: ClassVar[str] = "chosen_recedes"

    def length(self, position: int) -> int:
        """Return about how many tokens the prompt has; the queries are as many for all."""
        return len(self.preferences[position].prompt.split())

    def rows(self, position: int) -> int:  # noqa: ARG002 - the objective's contract
        """Return 1: H depends on the prompt alone."""
        return 1

    def forward(self, positions: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the weighted loss of each pair, (pairs,), and the sums of :meth:`metrics`."""
        preferences = [self.preferences[i] for i in positions]
        policy = policy_features(self.model, [p.prompt for p in preferences], self.precision)
        reference = torch.stack([self.reference[i] for i in positions]).to(policy.device)
        drift = self.kernel(policy, reference)
        distances = _distances(self.kernel, policy, reference, preferences, drift)
        weights = torch.cat([self.weights[i] for i in positions]).to(policy.device)
        return weights * self.pair_loss(distances, self.gamma), self._sums(distances, drift, len(positions))

    @torch.no_grad()
    def _sums(self, distances: Distances, drift: torch.Tensor, prompts: int) -> torch.Tensor:
        """Return what the metrics need, summed over pairs (the last two over prompts)."""
        margins = distances.margins()
        return torch.stack(
            [
                self.gamma * margins.sum(),
                (margins > 0).sum().to(drift.dtype),
                distances.policy[distances.chosen].sum(),
                distances.policy[distances.rejected].sum(),
                distances.reference[distances.chosen].sum(),
                distances.reference[distances.rejected].sum(),
                drift.sum(),
                drift.new_tensor(prompts),
            ]
        )

    def metrics(self, sums: Sequence[float], terms: int) -> dict[str, float]:
        """Return margin and accuracy, mean distances of the pairs' sides, and k(H, H_r) per prompt."""
        *over_pairs, drift, prompts = sums
        names = ("margin", "accuracy", *(f"{who}{side}_distance" for who in ("", "reference_")
                                         for side in ("chosen", "rejected")))  # fmt: skip
        means = dict(zip(names, (value / terms for value in over_pairs), strict=True))
        return {**means, "drift": drift / prompts, "gamma_eff": self.gamma, "pairs": float(terms)}

    def warning(self, step: int, metrics: Mapping[str, float]) -> DistanceWarning | None:
        """Return a warning where k(H, H_w) is by more than `warn_rise` above the reference's."""
        now, before = metrics["chosen_distance"], metrics["reference_chosen_distance"]
        if not now > (1.0 + self.warn_rise) * before:
            return None
        return DistanceWarning(
            f"step {step}: the distance to the chosen candidates is {now:.4g}, the reference's is "
            f"{before:.4g} (more than trainer.warn_rise={self.warn_rise:g} above it): the policy moves "
            "away from what it should learn. A lower trainer.learning_rate, fewer steps or, for kc-dpo, "
            "trainer.gamma=auto with a trainer.reference_weight or a trainer.chosen_weight hold it."
        )


def distance_objective(
    job: TrainingJob, kernel: Kernel, pair_loss: DistanceLoss, gamma: float, options: DistanceOptions, digest: str
) -> DistanceObjective:
    """Compute the reference's features, unless `job.work` holds them, and return the objective."""
    reference = reference_features(
        job.model,
        job.preferences,
        work=job.work,
        digest=digest,
        prompts=max(1, options.batch_size // options.gradient_accumulation_steps),
        precision=options.precision,
    )
    weights = preference_data.pair_weights(job.preferences, options.weighting)
    return DistanceObjective(
        job.model, job.preferences, weights, options.batch_size, options.precision, reference, kernel, pair_loss,
        gamma, options.warn_rise,
    )


def typical_distance(kernel: Kernel, preferences: Sequence[Preference]) -> float:
    """Return the median of k(H_w, H_l) over all pairs, prompt by prompt, so that no more is in memory.

    Raises:
        DataError: it is not a positive number, so that it cannot be a scale.
    """
    distances = []
    for preference in preferences:
        features = _stack(preference.latents, torch.device("cpu"))
        for chosen in sorted({pair[0] for pair in preference.pairs}):
            rejected = [pair[1] for pair in preference.pairs if pair[0] == chosen]
            distances.append(kernel(features[chosen], features[rejected]).double().numpy())
    median = float(np.median(np.concatenate(distances)))
    if not (np.isfinite(median) and median > 0):
        raise DataError(
            f"the median distance between chosen and rejected candidates is {median:g}, which is no scale "
            "for gamma: the candidates are alike under this kernel. Sample more diverse ones (for dropdiv "
            "a higher sampler.rate), take another --kernel, or set trainer.gamma to a number."
        )
    return median


def kernel_identity(kernel: Kernel, preferences: Sequence[Preference]) -> dict[str, str]:
    """Return what tells kernels apart: k(H_w, H_l) of the first pair, to the last bit."""
    if not preferences or not preferences[0].pairs:
        return {}
    latents, (chosen, rejected) = preferences[0].latents, preferences[0].pairs[0]
    h_w, h_l = _stack([latents[chosen], latents[rejected]], torch.device("cpu"))
    return {"kernel": float(kernel(h_w, h_l)).hex()}


def _distances(
    kernel: Kernel,
    policy: torch.Tensor,
    reference: torch.Tensor,
    preferences: Sequence[Preference],
    drift: torch.Tensor,
) -> Distances:
    """Return the distances of H and H_r, (prompts, L, D) each, to the candidates of each prompt."""
    policy_distances, reference_distances = [], []
    chosen: list[int] = []
    rejected: list[int] = []
    count = 0
    for h, h_r, preference in zip(policy, reference, preferences, strict=True):
        candidates = _stack(preference.latents, policy.device)
        if candidates.shape[1:] != h.shape:
            raise DataError(
                f"prompt {preference.prompt!r}: its candidates have shape {tuple(candidates.shape[1:])} and "
                f"the model's features {tuple(h.shape)}; train the model that sampled them"
            )
        policy_distances.append(kernel(h, candidates))
        with torch.no_grad():
            reference_distances.append(kernel(h_r, candidates))
        chosen += [count + pair[0] for pair in preference.pairs]
        rejected += [count + pair[1] for pair in preference.pairs]
        count += len(candidates)
    return Distances(
        torch.cat(policy_distances),
        torch.cat(reference_distances),
        torch.tensor(chosen, device=policy.device),
        torch.tensor(rejected, device=policy.device),
        drift.repeat_interleave(torch.tensor([len(p.pairs) for p in preferences], device=policy.device)),
    )


def _stack(latents: Sequence[Latent], device: torch.device) -> torch.Tensor:
    """Return candidates as float32 (candidates, L, D)."""
    return torch.from_numpy(np.stack([np.asarray(z, dtype=np.float32) for z in latents])).to(device)
