"""Options that the LoRA trainers share; the defaults are the paper's (App. 9)."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from pydantic import model_validator

from silmm.contracts.options import Options, option
from silmm.contracts.validation_options import ValidationOptions

Weighting: TypeAlias = Literal["none", "gap"]


class OptimisationOptions(Options):
    """Optimisation of LoRA weights with the settings of SEED-LLaMA."""

    max_steps: int = option(1000, "optimizer steps", ge=1, unit="steps", paper="App. 9: 1k (SEED-LLaMA)")
    warmup_steps: int = option(
        100, "steps of linear warm-up; then a cosine down to 0", ge=0, unit="steps", paper="App. 9: 100, cosine"
    )
    learning_rate: float = option(
        5e-5, "peak learning rate of AdamW (betas 0.9 and 0.999)", gt=0.0, paper="App. 9: 5e-5"
    )
    batch_size: int = option(
        32,
        "pairs of an optimizer step over all micro-batches and processes; all pairs of a prompt stay together",
        ge=1, unit="pairs", paper="App. 9: 32 (before or after accumulation is not said)",
    )
    gradient_accumulation_steps: int = option(
        4,
        "micro-batches of a step; changes memory, not the result but for rounding",
        ge=1, unit="micro-batches", paper="App. 9: 4",
    )
    rank: int = option(32, "LoRA rank of a fresh adapter", ge=1, paper="App. 9: 32")
    alpha: float = option(32.0, "LoRA alpha; the update is scaled by alpha / rank", gt=0.0, paper="App. 9: 32")
    layers: str = option(
        "all",
        "decoder layers that get LoRA in a fresh adapter, of those that the model names: all, last:N, or numbers "
        "and ranges from 0 on such as 0-3 or 2,4-5",
        pattern=r"^(all|last:[1-9]\d*|\d+(-\d+)?(,\d+(-\d+)?)*)$", paper="not given",
    )
    weight_decay: float = option(
        0.0, "AdamW's decoupled weight decay of the LoRA weights", ge=0.0, unit="1/step/lr", paper="not given"
    )
    grad_clip: float = option(1.0, "largest norm of the whole gradient; 0 is off", ge=0.0, paper="not given")
    precision: Literal["fp32", "bf16"] = option(
        "fp32", "bf16 runs policy and reference under bfloat16 autocast; weights stay float32", paper="not given"
    )
    gradient_checkpointing: bool = option(
        False,
        "activation checkpointing: layers are computed again in the backward pass instead of remembered; far less "
        "memory for a second forward pass, and the same result",
        paper="not given",
    )
    checkpoint_every: int = option(
        50, "steps between training checkpoints; what a kill can cost at most", ge=1, unit="steps"
    )

    @model_validator(mode="after")
    def _check_warmup(self) -> OptimisationOptions:
        if self.warmup_steps > self.max_steps:
            raise ValueError(f"warmup {self.warmup_steps} is longer than the {self.max_steps} steps")
        return self

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step (1-based): linear warm-up, then half a cosine.

        The warm-up ends on `learning_rate` itself; no step is spent at 0.
        """
        if step <= self.warmup_steps:
            return self.learning_rate * step / self.warmup_steps
        progress = (step - 1 - self.warmup_steps) / max(1, self.max_steps - self.warmup_steps)
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


class LoraOptions(ValidationOptions, OptimisationOptions):
    """What all LoRA trainers share: optimisation and validation; trainers add their own terms."""


class PairOptions(LoraOptions):
    """Options of a trainer of pairs."""

    weighting: Weighting = option(
        "none", "what a pair counts in the loss: none, all alike; gap, its score gap over the mean gap of all pairs"
    )


class LikelihoodOptions(PairOptions):
    """Options of a trainer of likelihoods."""

    warn_drop: float = option(
        0.05, "warn once when the chosen's log-likelihood is this far below the reference's", gt=0.0, unit="nats/token"
    )

    @property
    def reward_scale(self) -> float:
        """What the metric `margin` multiplies a difference of log-ratios with."""
        return 1.0


class DistanceOptions(PairOptions):
    """Options of a trainer of distances."""

    warn_rise: float = option(
        0.5,
        "warn once when the distance to the chosen is by this share larger than the reference's",
        gt=0.0, unit="share",
    )


class RolloutOptions(LoraOptions):
    """Options of a trainer that samples while it trains; `batch_size` is not used: a step takes a whole rollout."""

    prompts_per_step: int = option(8, "prompts of a rollout", ge=1, unit="prompts")
    images_per_prompt: int = option(
        8, "images of each prompt of a rollout; a prompt's scores are compared among them", ge=2, unit="images"
    )
    updates_per_rollout: int = option(1, "optimizer steps on the images of a rollout", ge=1, unit="steps")
    warn_kl: float = option(
        0.3, "warn once when the policy's KL to the reference, estimated on its own images, is above it",
        gt=0.0, unit="nats/token",
    )


class DreamLlmOptions(LoraOptions):
    """Optimisation of LoRA weights with the settings of DreamLLM, the paper's continuous model."""

    max_steps: int = option(2000, "optimizer steps", ge=1, unit="steps", paper="App. 9: 2k (DreamLLM)")
    warmup_steps: int = option(
        200,
        "steps of linear warm-up; then a cosine down to 0",
        ge=0, unit="steps", paper="App. 9: 200, cosine (DreamLLM)",
    )
    learning_rate: float = option(
        8e-6, "peak learning rate of AdamW (betas 0.9 and 0.999)", gt=0.0, paper="App. 9: 8e-6 (DreamLLM)"
    )
