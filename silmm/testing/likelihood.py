"""Whether log pi(z|x) is the distribution that `represent` samples from, without looking inside the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from silmm.contracts.models import BaseModel, Latent, SamplingParams
from silmm.lora.loading import load_adapter
from silmm.testing.cases import Cases, Nonconformance, array, compare, sampled

LIMIT = 6.0
"""Standard errors; of a hundred directions of a sound model one is further off once in five million times."""
_BATCH = 32


def check_sampler_distribution(model: BaseModel, cases: Cases, samples: int = 256) -> float:
    """Check that the likelihood is that of the plain sampler (constrained softmax, one temperature).

    The mean of the score d log pi(z|x) / d theta over z sampled from pi itself is 0, and it is not where the
    two differ: by a temperature, by guidance, by tokens that only one of them allows. It is tested along the
    direction in which half of the samples have the largest mean, and along every weight itself: growing or
    shrinking the last ones is a change of temperature. theta is the whole backbone.

    Args:
        model: a discrete model, with guidance off: guided sampling is not sampling from pi.
        cases: its first prompt is sampled.
        samples: how many candidates; what differs little needs more.

    Returns:
        The largest mean along these directions, in its standard errors.
    """
    prompt = cases.prompts[0]
    load_adapter(model, None)
    latents = model.represent([prompt] * samples, list(range(samples)), SamplingParams())
    half = samples // 2
    with _differentiable(model) as parameters:
        direction = _mean_gradient(model, prompt, latents[:half], parameters)
        scores = torch.stack([
            _along(_mean_gradient(model, prompt, [z], parameters), direction, parameters)
            for z in latents[half:]
        ])
    spread = scores.std(0) / math.sqrt(len(scores))
    if not spread.any():
        raise Nonconformance("log_likelihood: its gradient is the same for all z, so it says nothing of them")
    errors = float((scores.mean(0).abs() / spread)[spread > 0].max())
    if not errors <= LIMIT:
        raise Nonconformance(
            f"log_likelihood is not the distribution that represent samples from: the mean of its gradient "
            f"over {half} sampled z is {errors:.1f} standard errors from 0 (allowed {LIMIT:g}). Take the "
            "softmax over the tokens that may be sampled at each position, at temperature 1, without guidance"
        )
    return errors


@torch.no_grad()
def check_token_likelihood(model: BaseModel, cases: Cases) -> float:
    """Check that the tokens' likelihoods sum to the candidate's, and that none depends on the tokens after it.

    On-policy trainers weigh each token by its own ratio, which presupposes both.

    Returns:
        The largest |a - b| / (1 + |b|) of the sums.
    """
    latents = sampled(model, cases)
    tokens = model.token_log_likelihood(cases.prompts, latents)
    whole = array(model.log_likelihood(cases.prompts, latents))
    worst = compare(array(tokens.sum(-1)), whole, cases.tolerance, "token_log_likelihood: the sum is log_likelihood")
    half = len(latents[0]) // 2
    others = [*latents[1:], latents[0]]
    mixed = [np.concatenate([z[:half], other[half:]]) for z, other in zip(latents, others, strict=True)]
    changed = model.token_log_likelihood(cases.prompts, mixed)
    promise = "token_log_likelihood: a token's value does not depend on the tokens after it"
    compare(array(changed[:, :half]), array(tokens[:, :half]), cases.tolerance, promise)
    return worst


def _along(
    gradient: Sequence[torch.Tensor], direction: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Return the gradient's product with the direction, then with each weight, (1 + weights,)."""
    products = [sum((part * along).sum() for part, along in zip(gradient, direction, strict=True))]
    products += [(part * weight.detach()).sum() for part, weight in zip(gradient, parameters, strict=True)]
    return torch.stack([torch.as_tensor(product).double().cpu() for product in products])


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
        for position, gradient in enumerate(own):
            if gradient is not None:
                total[position] += gradient
    return total
