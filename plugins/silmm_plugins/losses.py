"""The preference losses as small pure functions of log-likelihoods."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def log_ratio(policy: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return log pi(z|x) - log ref(z|x), elementwise, in nats a sequence.

    Both are sums over the image-token positions under one normalisation; shapes must agree.

    Raises:
        ValueError: the shapes differ.
    """
    if policy.shape != reference.shape:
        raise ValueError(
            f"policy {tuple(policy.shape)} and reference {tuple(reference.shape)} differ in shape"
        )
    return policy - reference


def pair_margins(ratios: torch.Tensor, chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """Return the log-ratio difference of each pair, shape (pairs,), in nats.

    Args:
        ratios: log-ratios of the unique candidates, shape (candidates,).
        chosen: positions of the chosen in `ratios`, int64 of shape (pairs,).
        rejected: positions of the rejected, the same shape.

    k chosen and k rejected candidates need 2k likelihoods for their k×k pairs.
    """
    return ratios[chosen] - ratios[rejected]


def dpo_loss(margins: torch.Tensor, beta: float) -> torch.Tensor:
    """Return Eq. 2, -log sigmoid(beta * margin), elementwise, in nats.

    `margins` = [log pi(z_w|x) - log ref(z_w|x)] - [log pi(z_l|x) - log ref(z_l|x)] of any shape;
    where policy and reference are one, it is 0 and the loss ln 2.
    """
    return -F.logsigmoid(beta * margins)


def token_nll(log_likelihood: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return the mean negative log-likelihood a token, elementwise, in nats a token.

    Args:
        log_likelihood: log pi(z|x), shape (sequences,), nats a sequence.
        tokens: number of image tokens of each z, the same shape.

    The loss of `sft` (the paper's baseline), and the likelihood term that `dpo` adds on the chosen.
    """
    return -log_likelihood / tokens.to(log_likelihood.dtype)


def kl_estimate(ratios: torch.Tensor) -> torch.Tensor:
    """Return log-ratio² / 2, elementwise, in nats a sequence: an estimate of KL(reference, policy).

    The low-variance "k2" estimate (Schulman 2020) on sequences that the reference drew; exact to
    second order, never negative. The pairs hold selected candidates, so it is a gauge, not a bound.
    """
    return 0.5 * ratios.square()
