"""The preference losses as small pure functions of log-likelihoods and of distances."""

from __future__ import annotations

import math

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
    """Return the difference within each pair, shape (pairs,), in the unit of `ratios`.

    Args:
        ratios: log-ratios of the unique candidates, shape (candidates,), in nats; or, of features, how
            much nearer the policy is than the reference, k(H_r, H_c) - k(H, H_c).
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


def kc_dpo_loss(
    margins: torch.Tensor, chosen: torch.Tensor, gamma: float, anchor: float = 0.0
) -> torch.Tensor:
    """Return Eq. 6, -log sigmoid(gamma * margin), plus anchor * gamma * k(H, H_w), elementwise.

    Args:
        margins: -k(H,H_w) + k(H_r,H_w) + k(H,H_l) - k(H_r,H_l) of each pair, shape (pairs,).
        chosen: k(H,H_w) of each pair, the same shape.
        gamma: per unit of k; Eq. 5 has beta / (2 sigma²) for it.
        anchor: without unit, since gamma takes the scale of k away; 0 is the paper's loss. At margin 0
            the pull toward the chosen is (½ + anchor) / ½ times the push from the rejected.
    """
    loss = -F.logsigmoid(gamma * margins)
    return loss + anchor * gamma * chosen if anchor else loss


def gaussian_log_likelihood(
    z: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor
) -> torch.Tensor:
    """Return log N(z; mean, diag variance), summed over the last two dimensions (L, D), in nats.

    The three broadcast over the leading dimensions (Sec. 3.2).
    """
    terms = (z - mean).square() / variance + variance.log() + math.log(2.0 * math.pi)
    return -0.5 * terms.sum((-2, -1))


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

    The low-variance "k2" estimate (Schulman 2020) on sequences that the reference sampled; exact to
    second order, never negative. The pairs hold selected candidates, so it is a gauge, not a bound.
    """
    return 0.5 * ratios.square()
