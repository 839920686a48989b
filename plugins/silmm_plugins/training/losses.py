"""The preference losses as small pure functions of log-likelihoods and of distances."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num
    from torch import Tensor


def log_ratio(policy: Float[Tensor, "*shape"], reference: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return log pi(z|x) - log ref(z|x), elementwise, in nats per sequence.

    Both are sums over the image-token positions under one normalisation; shapes must agree.

    Raises:
        ValueError: the shapes differ.
    """
    if policy.shape != reference.shape:
        raise ValueError(
            f"policy {tuple(policy.shape)} and reference {tuple(reference.shape)} differ in shape"
        )
    return policy - reference


def pair_margins(
    ratios: Float[Tensor, " candidates"], chosen: Int[Tensor, " pairs"], rejected: Int[Tensor, " pairs"]
) -> Float[Tensor, " pairs"]:
    """Return the difference within each pair, in the unit of `ratios`.

    Args:
        ratios: log-ratios of the unique candidates, in nats; or, of features, how much
            nearer the policy is than the reference, k(H_r, H_c) - k(H, H_c).
        chosen: positions of the chosen in `ratios`.
        rejected: positions of the rejected.

    k chosen and k rejected candidates need 2k likelihoods for their k×k pairs.
    """
    return ratios[chosen] - ratios[rejected]


def dpo_loss(margins: Float[Tensor, "*shape"], beta: float) -> Float[Tensor, "*shape"]:
    """Return Eq. 2, -log sigmoid(beta * margin), elementwise, in nats.

    `margins` = [log pi(z_w|x) - log ref(z_w|x)] - [log pi(z_l|x) - log ref(z_l|x)] of any shape;
    where policy and reference are one, it is 0 and the loss ln 2.
    """
    return -F.logsigmoid(beta * margins)


def simpo_loss(
    chosen: Float[Tensor, " pairs"], rejected: Float[Tensor, " pairs"], beta: float, gamma: float
) -> Float[Tensor, " pairs"]:
    """Return -log sigmoid(beta * (chosen - rejected) - gamma), elementwise, in nats (Meng et al. 2024, Eq. 6).

    Args:
        chosen: mean log pi per token of each pair's chosen candidate, in nats per token.
        rejected: the same of the rejected one.
        beta: per nat/token.
        gamma: the margin, without unit.
    """
    return -F.logsigmoid(beta * (chosen - rejected) - gamma)


def ipo_loss(margins: Float[Tensor, "*shape"], tau: float) -> Float[Tensor, "*shape"]:
    """Return (margin - 1 / (2 tau))², elementwise, in nats² (Azar et al. 2023, Eq. 17); `margins` as in Eq. 2."""
    return (margins - 1.0 / (2.0 * tau)).square()


def group_advantages(scores: Float[Tensor, " images"], scale: bool) -> Float[Tensor, " images"]:
    """Return how far each score of a prompt's images is above their mean (Shao et al. 2024, Sec. 4.1.2).

    Args:
        scores: of all images of one prompt.
        scale: divide by their standard deviation (n - 1, plus 1e-4 as in TRL). Without it prompts of equal scores
            count less, and no prompt more than its scores differ (Liu et al. 2025, arXiv 2503.20783).
    """
    centred = scores - scores.mean()
    return centred / (scores.std() + 1e-4) if scale and len(scores) > 1 else centred


def clipped_policy_loss(
    log_ratios: Float[Tensor, "sequences tokens"], advantages: Float[Tensor, " sequences"], clip: float
) -> Float[Tensor, "sequences tokens"]:
    """Return -min(r A, clamp(r, 1 - clip, 1 + clip) A) of each token (Shao et al. 2024, Eq. 3).

    Args:
        log_ratios: log pi - log pi of the policy that sampled, of each token, in nats.
        advantages: A of each sequence; r = exp(log-ratio).
        clip: epsilon.
    """
    ratios, advantages = log_ratios.exp(), advantages[:, None]
    return -torch.minimum(ratios * advantages, ratios.clamp(1.0 - clip, 1.0 + clip) * advantages)


def k3_estimate(policy: Float[Tensor, "*shape"], reference: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return exp(ref - pi) - (ref - pi) - 1, elementwise, in nats: an estimate of KL(policy, reference).

    On tokens that the policy sampled it is unbiased, and never negative ("k3" of Schulman 2020; Shao et al. 2024,
    Eq. 4). Both are log-probabilities of one shape.
    """
    return (reference - policy).exp() - (reference - policy) - 1.0


def kc_dpo_loss(
    margins: Float[Tensor, " pairs"], chosen: Float[Tensor, " pairs"], gamma: float, anchor: float = 0.0
) -> Float[Tensor, " pairs"]:
    """Return Eq. 6, -log sigmoid(gamma * margin), plus anchor * gamma * k(H, H_w), elementwise.

    Args:
        margins: -k(H,H_w) + k(H_r,H_w) + k(H,H_l) - k(H_r,H_l) of each pair.
        chosen: k(H,H_w) of each pair.
        gamma: per unit of k; Eq. 5 has beta / (2 sigma²) for it.
        anchor: without unit, since gamma takes the scale of k away; 0 is the paper's loss. At margin 0
            the pull toward the chosen is (½ + anchor) / ½ times the push from the rejected.
    """
    loss = -F.logsigmoid(gamma * margins)
    return loss + anchor * gamma * chosen if anchor else loss


def gaussian_log_likelihood(
    z: Float[Tensor, "*#batch length dim"],
    mean: Float[Tensor, "*#batch length dim"],
    variance: Float[Tensor, "*#batch length dim"],
) -> Float[Tensor, "..."]:
    """Return log N(z; mean, diag variance), summed over the last two dimensions (L, D), in nats.

    The three broadcast over the leading dimensions (Sec. 3.2).
    """
    terms = (z - mean).square() / variance + variance.log() + math.log(2.0 * math.pi)
    return -0.5 * terms.sum((-2, -1))


def token_nll(
    log_likelihood: Float[Tensor, " sequences"], tokens: Num[Tensor, " sequences"]
) -> Float[Tensor, " sequences"]:
    """Return the mean negative log-likelihood per token, in nats per token.

    Args:
        log_likelihood: log pi(z|x), in nats per sequence.
        tokens: number of image tokens of each z.

    The loss of `sft` (the paper's baseline), and the likelihood term that `dpo` adds on the chosen.
    """
    return -log_likelihood / tokens.to(log_likelihood.dtype)


def kl_estimate(ratios: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return log-ratio² / 2, elementwise, in nats per sequence: an estimate of KL(reference, policy).

    The low-variance "k2" estimate (Schulman 2020) on sequences that the reference sampled; exact to
    second order, never negative. The pairs hold selected candidates, so it is a gauge, not a bound.
    """
    return 0.5 * ratios.square()
