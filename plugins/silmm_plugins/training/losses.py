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


def simpo_loss(chosen: torch.Tensor, rejected: torch.Tensor, beta: float, gamma: float) -> torch.Tensor:
    """Return -log sigmoid(beta * (chosen - rejected) - gamma), elementwise, in nats (Meng et al. 2024, Eq. 6).

    Args:
        chosen: mean log pi per token of each pair's chosen candidate, (pairs,), in nats per token.
        rejected: the same of the rejected one.
        beta: per nat/token.
        gamma: the margin, without unit.
    """
    return -F.logsigmoid(beta * (chosen - rejected) - gamma)


def ipo_loss(margins: torch.Tensor, tau: float) -> torch.Tensor:
    """Return (margin - 1 / (2 tau))², elementwise, in nats² (Azar et al. 2023, Eq. 17); `margins` as in Eq. 2."""
    return (margins - 1.0 / (2.0 * tau)).square()


def group_advantages(scores: torch.Tensor, scale: bool) -> torch.Tensor:
    """Return how far each score of a prompt's images is above their mean, (images,) (Shao et al. 2024, Sec. 4.1.2).

    Args:
        scores: of all images of one prompt, (images,).
        scale: divide by their standard deviation (n - 1, plus 1e-4 as in TRL). Without it prompts of equal scores
            count less, and no prompt more than its scores differ (Liu et al. 2025, arXiv 2503.20783).
    """
    centred = scores - scores.mean()
    return centred / (scores.std() + 1e-4) if scale and len(scores) > 1 else centred


def clipped_policy_loss(log_ratios: torch.Tensor, advantages: torch.Tensor, clip: float) -> torch.Tensor:
    """Return -min(r A, clamp(r, 1 - clip, 1 + clip) A) of each token, (sequences, tokens) (Shao et al. 2024, Eq. 3).

    Args:
        log_ratios: log pi - log pi of the policy that sampled, of each token, (sequences, tokens), in nats.
        advantages: A of each sequence, (sequences,); r = exp(log-ratio).
        clip: epsilon.
    """
    ratios, advantages = log_ratios.exp(), advantages[:, None]
    return -torch.minimum(ratios * advantages, ratios.clamp(1.0 - clip, 1.0 + clip) * advantages)


def k3_estimate(policy: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return exp(ref - pi) - (ref - pi) - 1, elementwise, in nats: an estimate of KL(policy, reference).

    On tokens that the policy sampled it is unbiased, and never negative ("k3" of Schulman 2020; Shao et al. 2024,
    Eq. 4). Both are log-probabilities of one shape.
    """
    return (reference - policy).exp() - (reference - policy) - 1.0


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
