"""Reference honesty (promise 5): what gradients reach, what step 0 shows, and that nothing is dropped out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch.nn import functional as F

from silmm.contracts.models import BaseModel
from silmm.lora.adapters import detach, new_adapter, trainable_parameters
from silmm.testing.cases import Cases, Nonconformance, array, compare, sampled, trained_value
from silmm.testing.seeds import other_randomness

RANK, ALPHA, BETA = 2, 4.0, 0.2
_DEPTH = 3
"""How far into the model's attributes networks are looked for."""


def check_gradients(model: BaseModel, cases: Cases) -> None:
    """Check that gradients reach every LoRA weight and nothing else, in the backbone or outside of it."""
    latents = sampled(model, cases)
    with tuned_adapter(model) as adapter:
        for _, parameter in _all_parameters(model):
            parameter.grad = None
        value = trained_value(model, cases.prompts, latents)
        if not value.requires_grad:
            raise Nonconformance("training: no gradient flows from the model's value to any weight")
        torch.autograd.backward(value.float().square().sum())
        for name, parameter in adapter.items():
            gradient = parameter.grad
            if gradient is None or not torch.isfinite(gradient).all() or not gradient.any():
                raise Nonconformance(
                    f"training: the gradient of the LoRA weight {name} is missing, 0 or not finite; "
                    "lora_targets names a module that the value does not depend on"
                )
        own = {id(parameter) for parameter in adapter.values()}
        for name, parameter in _all_parameters(model):
            if id(parameter) not in own and (parameter.grad is not None or parameter.requires_grad):
                raise Nonconformance(f"training: a gradient reaches {name}, no LoRA weight; freeze it")


def check_first_step(model: BaseModel, cases: Cases) -> float:
    """Check margin 0 and loss ln 2 at step 0: a fresh adapter is the reference, batched as it may be.

    Returns:
        The largest |margin|, in nats for likelihoods, or in mean squares of H.
    """
    latents = sampled(model, cases)
    detach(model)
    with torch.no_grad():
        reference = trained_value(model, cases.prompts, latents).float()
        new_adapter(model, rank=RANK, alpha=ALPHA, seed=0)
        try:
            policy = trained_value(model, cases.prompts, latents).float()
        finally:
            detach(model)
    if model.kind == "discrete":
        gains = policy - reference
    else:
        z = torch.stack([torch.from_numpy(latent) for latent in latents]).to(policy)
        # Every H against the first prompt's, so that no distance is 0 by itself.
        far = (reference - z[:1]).square().mean((1, 2))
        gains = far - (policy - z[:1]).square().mean((1, 2))
    margins = gains - gains.roll(1)
    loss = -F.logsigmoid(BETA * margins)
    compare(array(margins), [0.0] * len(margins), cases.tolerance, "training: the margin at step 0 is 0")
    even = [math.log(2)] * len(margins)
    compare(array(loss), even, cases.tolerance, "training: the loss at step 0 is ln 2")
    return float(margins.abs().max())


def check_dropout_is_off(model: BaseModel, cases: Cases) -> None:
    """Check that a forward pass with gradients has no chance in it, and that networks are in eval mode."""
    latents = sampled(model, cases)
    with tuned_adapter(model):
        first = array(trained_value(model, cases.prompts, latents))
        promise = "training: the same weights give the same value, so dropout is off"
        for seed in range(4):  # one mask alone may happen to keep everything
            with other_randomness(seed):
                again = array(trained_value(model, cases.prompts, latents))
            compare(again, first, min(cases.tolerance, 1e-6), promise)
        require_eval_mode(model, "training")


def require_eval_mode(model: BaseModel, when: str) -> None:
    """Raise :class:`Nonconformance` where a part of any network of the model is in training mode."""
    for name, part in networks(model).items():
        in_train_mode = [inner for inner, module in part.named_modules() if module.training]
        if in_train_mode:
            path = ".".join(filter(None, [name, in_train_mode[0]]))
            raise Nonconformance(f"{when}: {path} is in training mode; call eval() on it")


def check_lora_targets(model: BaseModel) -> int:
    """Check that `lora_targets` is anchored and names linear maps of the backbone; return how many."""
    pattern = re.compile(model.lora_targets)
    named = [name for name, _ in model.backbone.named_modules() if pattern.fullmatch(name)]
    if not named:
        raise Nonconformance(f"lora_targets {model.lora_targets!r} matches no module of the backbone")
    for name in named:
        if pattern.fullmatch(f"vision_tower.{name}"):
            raise Nonconformance(
                f"lora_targets {model.lora_targets!r} is not anchored: it would match {name!r} in any other "
                "network too. Begin it with the path of the text layers"
            )
    return len(named)


@contextmanager
def tuned_adapter(model: BaseModel, seed: int = 0) -> Iterator[dict[str, torch.nn.Parameter]]:
    """Put an adapter on that changes the model (B is not 0), ready to be trained; take it off again."""
    new_adapter(model, rank=RANK, alpha=ALPHA, seed=seed)
    try:
        adapter = trainable_parameters(model)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in adapter.values():
                noise = torch.randn(parameter.shape, generator=generator) * 0.02
                parameter.add_(noise.to(parameter))
        yield adapter
    finally:
        for parameter in model.backbone.parameters():
            parameter.requires_grad_(False)
            parameter.grad = None
        detach(model)


def networks(model: BaseModel) -> dict[str, torch.nn.Module]:
    """Return the networks that the model holds, by the path of their attribute."""
    collected: dict[str, torch.nn.Module] = {}
    _collect("", vars(model), _DEPTH, collected)
    return collected


def _collect(
    prefix: str, attributes: Mapping[str, object], depth: int, collected: dict[str, torch.nn.Module]
) -> None:
    for name, value in attributes.items():
        path = f"{prefix}{name}"
        if isinstance(value, torch.nn.Module):
            collected[path] = value
        elif depth and isinstance(value, (list, tuple)):
            _collect(f"{path}.", {str(i): item for i, item in enumerate(value)}, depth - 1, collected)
        elif depth and isinstance(value, dict):
            _collect(f"{path}.", {str(key): item for key, item in value.items()}, depth - 1, collected)
        elif depth and hasattr(value, "__dict__") and not isinstance(value, type):
            _collect(f"{path}.", vars(value), depth - 1, collected)


def _all_parameters(model: BaseModel) -> list[tuple[str, torch.nn.Parameter]]:
    return [
        (f"{path}.{name}", parameter)
        for path, part in networks(model).items()
        for name, parameter in part.named_parameters()
    ]
