"""Whether log pi(z|x) is the distribution that `represent` draws from, without looking inside the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from silmm.interfaces import BaseModel, Drawing, Latent
from silmm.testing.cases import Cases, Nonconformance

LIMIT = 5.0
"""Standard errors; a sound model is further off once in two million draws of this check."""
_BATCH = 32


def check_sampler_distribution(model: BaseModel, cases: Cases, draws: int = 256) -> float:
    """Check that the likelihood is that of the plain sampler (constrained softmax, one temperature).

    The mean of the score d log pi(z|x) / d theta over z drawn from pi itself is 0, and it is not where the
    two differ: by a temperature, by guidance, by tokens that only one of them allows. Half of the draws
    find the direction in which the mean is largest, the other half test it. theta is the whole backbone.

    Args:
        model: a discrete model, with guidance off: guided sampling is not sampling from pi.
        cases: its first prompt is drawn.
        draws: how many candidates; what differs little needs more.

    Returns:
        The mean along that direction in its standard errors.
    """
    prompt = cases.prompts[0]
    model.load_adapter(None)
    latents = model.represent([prompt] * draws, list(range(draws)), Drawing())
    half = draws // 2
    with _differentiable(model) as parameters:
        direction = _mean_gradient(model, prompt, latents[:half], parameters)
        scores = torch.tensor([
            sum(float((one * other).sum()) for one, other in zip(own, direction, strict=True))
            for own in (_mean_gradient(model, prompt, [z], parameters) for z in latents[half:])
        ], dtype=torch.float64)
    spread = float(scores.std()) / math.sqrt(len(scores))
    if spread == 0.0:
        raise Nonconformance("log_likelihood: its gradient is the same for all z, so it says nothing of them")
    errors = float(scores.mean()) / spread
    if not abs(errors) <= LIMIT:
        raise Nonconformance(
            f"log_likelihood is not the distribution that represent draws from: the mean of its gradient "
            f"over {half} drawn z is {errors:.1f} standard errors from 0 (allowed {LIMIT:g}). Take the "
            "softmax over the tokens that may be drawn at each position, at temperature 1, without guidance"
        )
    return abs(errors)


@contextmanager
def _differentiable(model: BaseModel) -> Iterator[list[torch.nn.Parameter]]:
    """Let gradients reach the whole backbone for a while."""
    parameters = [p for p in model.backbone.parameters() if p.is_floating_point()]
    wanted = [p.requires_grad for p in parameters]
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield parameters
    finally:
        for parameter, flag in zip(parameters, wanted, strict=True):
            parameter.requires_grad_(flag)
            parameter.grad = None


def _mean_gradient(
    model: BaseModel, prompt: str, latents: Sequence[Latent], parameters: Sequence[torch.nn.Parameter]
) -> list[torch.Tensor]:
    total = [torch.zeros_like(parameter) for parameter in parameters]
    for first in range(0, len(latents), _BATCH):
        part = latents[first : first + _BATCH]
        value = model.log_likelihood([prompt] * len(part), part).sum() / len(latents)
        own = torch.autograd.grad(value, list(parameters), allow_unused=True)
        for place, gradient in enumerate(own):
            if gradient is not None:
                total[place] += gradient
    return total
