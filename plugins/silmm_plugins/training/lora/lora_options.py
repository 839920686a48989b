"""Options that the LoRA trainers share; the defaults are the paper's (App. 9)."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from silmm.contracts.options import Options
from silmm.contracts.validation_options import ValidationOptions


class OptimisationOptions(Options):
    """Optimisation of LoRA weights with the settings of SEED-LLaMA."""

    max_steps: int = Field(
        default=1000,
        ge=1,
        description="optimizer steps",
        json_schema_extra={"paper": "App. 9: 1k (SEED-LLaMA)", "unit": "steps"},
    )
    warmup_steps: int = Field(
        default=100,
        ge=0,
        description="steps of linear warm-up; then a cosine down to 0",
        json_schema_extra={"paper": "App. 9: 100, cosine", "unit": "steps"},
    )
    learning_rate: float = Field(
        default=5e-5,
        gt=0.0,
        description="peak learning rate of AdamW (betas 0.9 and 0.999)",
        json_schema_extra={"paper": "App. 9: 5e-5", "unit": ""},
    )
    batch_size: int = Field(
        default=32,
        ge=1,
        description="pairs of an optimizer step over all micro-batches and processes; all pairs "
        "of a prompt stay together",
        json_schema_extra={
            "paper": "App. 9: 32 (before or after accumulation is not said)",
            "unit": "pairs",
        },
    )
    gradient_accumulation_steps: int = Field(
        default=4,
        ge=1,
        description="micro-batches of a step; changes memory, not the result but for rounding",
        json_schema_extra={"paper": "App. 9: 4", "unit": "micro-batches"},
    )
    rank: int = Field(
        default=32,
        ge=1,
        description="LoRA rank of a fresh adapter",
        json_schema_extra={"paper": "App. 9: 32", "unit": ""},
    )
    alpha: float = Field(
        default=32.0,
        gt=0.0,
        description="LoRA alpha; the update is scaled by alpha / rank",
        json_schema_extra={"paper": "App. 9: 32", "unit": ""},
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0.0,
        description="AdamW's decoupled weight decay of the LoRA weights",
        json_schema_extra={"paper": "not given", "unit": "1/step/lr"},
    )
    grad_clip: float = Field(
        default=1.0,
        ge=0.0,
        description="largest norm of the whole gradient; 0 is off",
        json_schema_extra={"paper": "not given", "unit": ""},
    )
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32",
        description="bf16 runs policy and reference under bfloat16 autocast; weights stay float32",
        json_schema_extra={"paper": "not given", "unit": ""},
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="activation checkpointing: layers are computed again in the backward pass instead of "
        "remembered; far less memory for a second forward pass, and the same result",
        json_schema_extra={"paper": "not given", "unit": ""},
    )
    checkpoint_every: int = Field(
        default=50,
        ge=1,
        description="steps between training checkpoints; what a kill can cost at most",
        json_schema_extra={"paper": "ours", "unit": "steps"},
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


class LikelihoodWarningOptions(Options):
    """When a trainer that measures log-likelihoods warns."""

    warn_drop: float = Field(
        default=0.05,
        gt=0.0,
        description="warn once when the chosen's log-likelihood is this far below the reference's",
        json_schema_extra={"paper": "ours", "unit": "nats/token"},
    )


class DistanceWarningOptions(Options):
    """When a trainer that measures distances of features warns."""

    warn_rise: float = Field(
        default=0.5,
        gt=0.0,
        description="warn once when the distance to the chosen is by this share larger than the reference's",
        json_schema_extra={"paper": "ours", "unit": "share"},
    )


class LikelihoodOptions(LikelihoodWarningOptions, LoraOptions):
    """Options of a trainer of likelihoods."""


class DistanceOptions(DistanceWarningOptions, LoraOptions):
    """Options of a trainer of distances."""


class DreamLlmOptions(LoraOptions):
    """Optimisation of LoRA weights with the settings of DreamLLM, the paper's continuous model."""

    max_steps: int = Field(
        default=2000,
        ge=1,
        description="optimizer steps",
        json_schema_extra={"paper": "App. 9: 2k (DreamLLM)", "unit": "steps"},
    )
    warmup_steps: int = Field(
        default=200,
        ge=0,
        description="steps of linear warm-up; then a cosine down to 0",
        json_schema_extra={"paper": "App. 9: 200, cosine (DreamLLM)", "unit": "steps"},
    )
    learning_rate: float = Field(
        default=8e-6,
        gt=0.0,
        description="peak learning rate of AdamW (betas 0.9 and 0.999)",
        json_schema_extra={"paper": "App. 9: 8e-6 (DreamLLM)", "unit": ""},
    )
