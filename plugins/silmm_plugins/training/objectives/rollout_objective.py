"""Training on rollouts: images that the policy samples while it is trained, with their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from accelerate import PartialState
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from silmm.checkpoint.devices import device_of
from silmm.contracts.candidates import Candidate, Prompt
from silmm.contracts.models import BaseModel, Latent
from silmm.contracts.training import TrainingJob
from silmm.errors import DataError, UsageError
from silmm.lora.adapters import trainable_parameters
from silmm.storage.atomic_files import atomic_write
from silmm_plugins.training import losses
from silmm_plugins.training.lora.batches import batches
from silmm_plugins.training.lora.lora_options import RolloutOptions

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

_SAMPLED, _REFERENCE = "sampled", "reference"


@dataclass(frozen=True)
class RolloutBatch:
    """The images of some prompts side by side, those of a prompt together."""

    sampled: Float[Tensor, "images tokens"]
    """log pi of each token under the policy that sampled it, float32, in nats."""
    reference: Float[Tensor, "images tokens"]
    """The same under the reference."""
    scores: Sequence[Float[Tensor, " images_of_prompt"]]
    """The scores of each prompt's images, float32."""


@dataclass(frozen=True)
class _Group:
    """A prompt's images that have a score."""

    prompt: str
    latents: Sequence[Latent]
    scores: torch.Tensor
    sampled: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    reference: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    def policy(self, model: BaseModel, precision: str) -> torch.Tensor:
        """Return log pi of each token, float32 (images, tokens); all in one batch, so that equal weights agree."""
        device = device_of(model.backbone)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return model.token_log_likelihood([self.prompt] * len(self.latents), self.latents).float()


class RolloutWarning(UserWarning):
    """Warns that the policy is far from the reference."""


class RolloutObjective:
    """A loss of rolled-out images; a rollout is stored with its likelihoods, so that a killed training goes on."""

    width: ClassVar[int] = 3
    flag: ClassVar[str] = "kl_high"

    def __init__(
        self,
        job: TrainingJob,
        options: RolloutOptions,
        loss: Callable[[torch.Tensor, RolloutBatch], torch.Tensor],
        digest: str,
    ) -> None:
        """Keep the weights of the reference, which the model carries now.

        Raises:
            UsageError: the job has no rollout, or the rollout no prompts.
        """
        if job.rollout is None or not job.rollout.prompts:
            raise UsageError(
                "This trainer samples its own images, and a run on pairs of its user's has no prompts to sample: "
                "leave --pairs out, or take a trainer of pairs such as dpo."
            )
        self._job, self._options, self._loss, self._digest = job, options, loss, digest
        self._rollout, self._prompts = job.rollout, job.rollout.prompts
        self._weights = trainable_parameters(job.model)
        self._start = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._step = 0
        self._groups: dict[int, _Group] = {}

    def batches(self, seed: int) -> Iterator[list[int]]:
        """Yield the prompts of each step: those of a rollout, as often as it is used."""
        order = batches([1] * len(self._prompts), self._options.prompts_per_step, seed)
        return chain.from_iterable(repeat(positions, self._options.updates_per_rollout) for positions in order)

    def begin(self, step: int, positions: Sequence[int]) -> Sequence[int]:
        """Have the rollout of a step; return the prompts that have two images with a score or more.

        Raises:
            DataError: no prompt has, or what is stored of the rollout is damaged.
        """
        first = step - (step - 1) % self._options.updates_per_rollout
        if first != self._step:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                self._groups = self._roll_out(first, positions, stored=step > first)
            self._step = first
        return [position for position in positions if position in self._groups]

    def length(self, position: int) -> int:
        """Return about how many tokens a sequence of this prompt has."""
        group = self._groups[position]
        return len(group.prompt.split()) + len(group.latents[0])

    def rows(self, position: int) -> int:
        """Return the number of images with a score."""
        return len(self._groups[position].latents)

    terms = rows

    def forward(self, positions: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of each image, (images,), and the sums of :meth:`metrics`."""
        groups = [self._groups[position] for position in positions]
        policy = torch.cat([group.policy(self._job.model, self._options.precision) for group in groups])
        batch = RolloutBatch(
            torch.cat([group.sampled for group in groups]).to(policy.device),
            torch.cat([group.reference for group in groups]).to(policy.device),
            [group.scores.to(policy.device) for group in groups],
        )
        return self._loss(policy, batch), self._sums(policy.detach(), batch)

    def _sums(self, policy: torch.Tensor, batch: RolloutBatch) -> torch.Tensor:
        """Return what the metrics need, summed over images."""
        spread = torch.stack([len(scores) * scores.std() for scores in batch.scores]).sum()
        kl = losses.k3_estimate(policy, batch.reference).mean(-1)
        return torch.stack([torch.cat(list(batch.scores)).sum(), spread, kl.sum()])

    def metrics(self, sums: Sequence[float], terms: int) -> dict[str, float]:
        """Return the mean score, its standard deviation within a prompt, and the KL per token."""
        score, spread, kl = (value / terms for value in sums)
        return {"score": score, "score_spread": spread, "token_kl": kl, "images": float(terms)}

    def warning(self, step: int, metrics: Mapping[str, float]) -> RolloutWarning | None:
        """Return a warning where the KL is above `warn_kl`."""
        if not metrics["token_kl"] > self._options.warn_kl:
            return None
        return RolloutWarning(
            f"step {step}: the KL to the reference is {metrics['token_kl']:.3f} nats/token (more than "
            f"trainer.warn_kl={self._options.warn_kl:g}). A lower trainer.learning_rate, fewer steps or a larger "
            "trainer.kl_weight hold the policy."
        )

    # ------------------------------------------------------------------------------------ rollouts

    def _roll_out(self, step: int, positions: Sequence[int], *, stored: bool) -> dict[int, _Group]:
        """Sample and score, then measure the likelihoods under policy and reference, or read what is stored.

        Args:
            step: the first of the rollout's steps.
            positions: of its prompts.
            stored: the policy has moved on since it sampled: the likelihoods must be there.
        """
        prompts = [self._prompts[position] for position in positions]
        rolled_out = self._rollout(prompts, self._options.images_per_prompt, step)
        groups = {
            position: _group(prompt, candidates)
            for position, prompt, candidates in zip(positions, prompts, rolled_out, strict=True)
            if sum(candidate.score is not None for candidate in candidates) > 1
        }
        if not groups:
            raise DataError(
                f"Step {step}: none of {len(prompts)} prompts has two images with a score to compare; see the "
                f"rollout's tables in {self._job.work}, and choose other prompts or another scorer."
            )
        path = self._path(step)
        values = _read(path, self._digest)
        if values is None and stored:
            raise DataError(
                f"{path} is damaged or missing, so the training cannot go on in the middle of a rollout. Delete the "
                f"folder {self._job.work} and run the same command again to train anew."
            )
        if values is None:
            values = {
                _SAMPLED: self._measured(groups.values(), {}),
                _REFERENCE: self._measured(groups.values(), self._start),
            }
            if PartialState().is_main_process:
                atomic_write(path, save(values, metadata={"digest": self._digest}))
                self._delete_before(step)
        counts = [len(group.latents) for group in groups.values()]
        sampled, reference = (torch.split(values[name], counts) for name in (_SAMPLED, _REFERENCE))
        return {
            position: replace(group, sampled=sampled[i], reference=reference[i])
            for i, (position, group) in enumerate(groups.items())
        }

    def _path(self, step: int) -> Path:
        return Path(self._job.work) / f"likelihoods-{step:08d}.safetensors"

    def _delete_before(self, step: int) -> None:
        """Delete likelihoods that no checkpoint can lead back to."""
        oldest = self._path(max(0, step - self._options.checkpoint_every - self._options.updates_per_rollout))
        for path in Path(self._job.work).glob("likelihoods-*.safetensors"):
            if path.name < oldest.name:
                path.unlink(missing_ok=True)

    def _measured(self, groups: Iterable[_Group], carried: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return log pi of all tokens, (images, tokens), with some weights in place of the policy's."""
        own = {name: self._weights[name].detach().clone() for name in carried}
        self._put(carried)
        values = [group.policy(self._job.model, self._options.precision).cpu() for group in groups]
        self._put(own)
        return torch.cat(values)

    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        for name, values in weights.items():
            self._weights[name].copy_(values)


def _group(prompt: Prompt, candidates: Sequence[Candidate]) -> _Group:
    scores = {i: candidate.score for i, candidate in enumerate(candidates) if candidate.score is not None}
    return _Group(prompt.text, [candidates[i].latent for i in scores], torch.tensor(list(scores.values())))


def _read(path: Path, digest: str) -> dict[str, torch.Tensor] | None:
    """Return the stored likelihoods, or None where there are none of this digest."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("digest") != digest:
                return None
            return {name: file.get_tensor(name) for name in (_SAMPLED, _REFERENCE)}
    except SafetensorError:
        return None
