"""One DPO training step in our way and pair by pair, on the same pairs and the same adapter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from silmm_plugins.training.dpo import DpoOptions, dpo
from silmm_plugins.training.lora import lora_training
from silmm_plugins.training.lora.lora_options import LoraOptions
from silmm_plugins.training.lora.lora_training import Training
from silmm_plugins.training.objectives import preference_data
from silmm_plugins.training.objectives.likelihood_objective import LikelihoodObjective
from silmm_plugins.training.objectives.objective import Objective
from silmm_plugins.training.objectives.reference_values import policy_log_likelihood

from silmm.checkpoint.devices import device_of
from silmm.contracts.models import BaseModel, Preference
from silmm.contracts.training import TrainingJob
from silmm.lora.adapters import new_adapter, trainable_parameters

MICRO_BATCH = 32
"""Sequences that go through the model at once, in every way alike."""
UNMOVED = 1e-12
"""A learning rate that leaves float32 weights as they are, so that every repeat does the same work."""


def attach_adapter(model: BaseModel) -> None:
    """Put a LoRA adapter on the model that is not the base any more, so that margins are not 0."""
    new_adapter(model, rank=32, alpha=32, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in trainable_parameters(model).items():
            if "lora_B" in name:
                parameter.copy_(0.01 * torch.randn(parameter.shape, generator=generator))


def prepare(model: BaseModel, preferences: Sequence[Preference], beta: float = 0.2) -> Training:
    """Return a training of trainer `dpo` on these preferences, its reference values computed."""
    sequences = sum(len(p.latents) for p in preferences)
    options = DpoOptions(
        beta=beta,
        learning_rate=UNMOVED,
        grad_clip=0.0,
        warmup_steps=0,
        batch_size=sum(len(p.pairs) for p in preferences),
        gradient_accumulation_steps=math.ceil(sequences / MICRO_BATCH),
    )
    objective = LikelihoodObjective(
        model, preferences, preference_data.pair_weights(preferences, "none"), options.batch_size, options.precision,
        reference(model, preferences), partial(dpo, options=options), beta, options.warn_drop,
    )
    return training_of(model, preferences, objective, options)


def training_of(
    model: BaseModel, preferences: Sequence[Preference], objective: Objective, options: LoraOptions
) -> Training:
    """Return a training whose steps leave the weights as they are."""
    parameters = trainable_parameters(model)
    return Training(
        job=TrainingJob(model, preferences, None, Path(), Path(), 0, lambda *_: None),
        options=options,
        objective=objective,
        digest="",
        parameters=parameters,
        optimizer=torch.optim.AdamW(list(parameters.values()), lr=UNMOVED, weight_decay=0.0),
        device=device_of(model.backbone),
        layers=(),
    )


def step(training: Training) -> dict[str, float]:
    """Take one optimizer step of the shipped training loop on all the preferences."""
    # the loop's own step, private or not: one rewritten here would not be what users run
    return lora_training._step(training, 1, range(len(training.job.preferences)))


def step_and_reference(training: Training) -> dict[str, float]:
    """Compute the reference values of the preferences anew, then take a step."""
    old = likelihoods(training)
    new = replace(old, reference=reference(old.model, old.preferences))
    return step(replace(training, objective=new))


def likelihoods(training: Training) -> LikelihoodObjective:
    """Return the objective of a training that :func:`prepare` made."""
    return cast(LikelihoodObjective, training.objective)


def pair_by_pair(preferences: Sequence[Preference]) -> list[Preference]:
    """Return the same pairs ungrouped: each alone with its own two candidates."""
    return [
        Preference(p.prompt, (p.latents[chosen], p.latents[rejected]), ((0, 1),))
        for p in preferences
        for chosen, rejected in p.pairs
    ]


@torch.no_grad()
def reference(model: BaseModel, preferences: Sequence[Preference]) -> list[torch.Tensor]:
    """Return log ref(z|x) of each prompt's candidates by the disabled adapter."""
    items = [(p.prompt, z) for p in preferences for z in p.latents]
    with disabled_adapter(model):
        values = torch.cat(
            [
                policy_log_likelihood(model, [x for x, _ in part], [z for _, z in part], "fp32")
                for part in (items[i : i + MICRO_BATCH] for i in range(0, len(items), MICRO_BATCH))
            ]
        )
    return list(torch.split(values, [len(p.latents) for p in preferences]))


@contextmanager
def disabled_adapter(model: BaseModel) -> Iterator[None]:
    """Make the model its own reference for a while."""
    layers = [module for module in model.backbone.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
        trainable_parameters(model)  # peft's switch also turns the adapter's gradients off


def gradients(training: Training) -> dict[str, torch.Tensor]:
    """Return copies of the gradients that the last step left."""
    return {name: p.grad.clone() for name, p in training.parameters.items() if p.grad is not None}


def check_same_gradients(
    own: dict[str, torch.Tensor], other: dict[str, torch.Tensor], tolerance: float = 1e-3
) -> None:
    """Refuse to time ways that do not compute the same thing.

    Raises:
        RuntimeError: |own - other| > tolerance * |other|, in the norm over all weights, or no gradient.
    """
    difference = math.sqrt(sum(float((own[n] - other[n]).square().sum()) for n in other))
    norm = math.sqrt(sum(float(g.square().sum()) for g in other.values()))
    if own.keys() != other.keys() or not 0 <= difference <= tolerance * norm or norm == 0:
        raise RuntimeError(
            f"the gradients differ by {difference:.3g} where their norm is {norm:.3g}; the two ways do "
            "not compute the same step, so their times cannot be compared"
        )
