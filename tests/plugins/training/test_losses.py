"""Promises of the losses: the paper's formulas on numbers that a reader can check by hand."""

from __future__ import annotations

import math

import pytest
import torch
from silmm_plugins.training import losses


def test_equation_2_by_hand() -> None:
    """beta 0.2, chosen up by 3 nats, rejected down by 2: -log sigmoid(0.2 * 5) = log(1 + e^-1)."""
    ratios = losses.log_ratio(torch.tensor([-7.0, -12.0]), torch.tensor([-10.0, -10.0]))
    margins = losses.pair_margins(ratios, torch.tensor([0]), torch.tensor([1]))
    assert margins.tolist() == [5.0]
    assert losses.dpo_loss(margins, 0.2).item() == pytest.approx(math.log(1 + math.exp(-1.0)), rel=1e-6)


def test_at_the_reference_the_loss_is_ln_2() -> None:
    """Equal policy and reference: margin 0, loss ln 2 for any beta."""
    same = torch.tensor([-3.0, -50.0, 0.0])
    ratios = losses.log_ratio(same, same)
    assert losses.dpo_loss(ratios, 7.0).tolist() == pytest.approx([math.log(2)] * 3)


def test_the_gradient_pushes_chosen_up_and_rejected_down() -> None:
    """d loss / d log pi is -beta/2 on the chosen and +beta/2 on the rejected at margin 0."""
    policy = torch.tensor([-4.0, -6.0], requires_grad=True)
    ratios = losses.log_ratio(policy, policy.detach())
    margin = losses.pair_margins(ratios, torch.tensor([0]), torch.tensor([1]))
    torch.autograd.backward(losses.dpo_loss(margin, 0.2).sum())
    assert policy.grad is not None
    assert policy.grad.tolist() == pytest.approx([-0.1, 0.1])


def test_token_nll_by_hand() -> None:
    """-32 nats over 64 tokens is half a nat a token, whatever the other sequence's length."""
    values = losses.token_nll(torch.tensor([-32.0, -6.0]), torch.tensor([64, 3]))
    assert values.tolist() == [0.5, 2.0]


def test_the_kl_estimate_is_zero_at_the_reference_and_never_negative() -> None:
    """log-ratio² / 2 by hand: 0 → 0, ±2 → 2."""
    assert losses.kl_estimate(torch.tensor([0.0, 2.0, -2.0])).tolist() == [0.0, 2.0, 2.0]


def test_shapes_that_differ_are_refused() -> None:
    """A broadcast between policy and reference would be a silent wrong number."""
    with pytest.raises((ValueError, TypeError), match="reference"):
        losses.log_ratio(torch.zeros(2), torch.zeros(1))


def test_a_far_margin_stays_finite() -> None:
    """The loss neither overflows nor becomes NaN for margins of thousands of nats."""
    values = losses.dpo_loss(torch.tensor([-5000.0, 5000.0]), 0.2)
    assert values.tolist() == pytest.approx([1000.0, 0.0])


def test_equation_6_by_hand() -> None:
    """gamma 2, margin 0.5, k(H,H_w) 0.3: -log sigmoid(1), and with anchor ½ another ½ * 2 * 0.3."""
    margins, chosen = torch.tensor([0.5]), torch.tensor([0.3])
    plain = math.log(1 + math.exp(-1.0))
    assert losses.kc_dpo_loss(margins, chosen, 2.0).item() == pytest.approx(plain, rel=1e-6)
    assert losses.kc_dpo_loss(margins, chosen, 2.0, 0.5).item() == pytest.approx(plain + 0.3, rel=1e-6)


def test_the_anchor_weighs_against_half_of_gamma() -> None:
    """At margin 0 the gradient is gamma/2 away from the rejected, (½ + anchor) * gamma to the chosen."""
    chosen, rejected = torch.tensor([0.3, 0.4], dtype=torch.float64, requires_grad=True)
    margin = (0.3 - chosen + rejected - 0.4).reshape(1)
    (loss,) = losses.kc_dpo_loss(margin, chosen.reshape(1), 8.0, anchor=0.25)
    pull, push = torch.autograd.grad(loss, [chosen, rejected])
    assert (pull.item(), push.item()) == pytest.approx((0.75 * 8.0, -0.5 * 8.0))


def test_the_gaussian_is_torchs() -> None:
    """log N with one mean and variance a number, summed over (L, D), broadcasting the candidates."""
    generator = torch.Generator().manual_seed(0)
    z, mean = (torch.randn(*shape, 4, 3, generator=generator) for shape in ((5,), ()))
    variance = torch.rand(4, 3, generator=generator) + 0.1
    expected = torch.distributions.Normal(mean, variance.sqrt()).log_prob(z).sum((-2, -1))
    torch.testing.assert_close(losses.gaussian_log_likelihood(z, mean, variance), expected)


def test_simpo_by_hand() -> None:
    """Meng et al., Eq. 6: beta 2, -0.5 against -1.5 nats per token, gamma 1: -log sigmoid(2 - 1)."""
    loss = losses.simpo_loss(torch.tensor([-0.5]), torch.tensor([-1.5]), 2.0, 1.0)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1.0)), rel=1e-6)


def test_ipo_by_hand() -> None:
    """Azar et al., Eq. 17: at tau 0.1 the margin should be 5; 0 there, and 4 at a margin of 3."""
    assert losses.ipo_loss(torch.tensor([5.0, 3.0]), 0.1).tolist() == pytest.approx([0.0, 4.0])


def test_advantages_by_hand() -> None:
    """Scores 1, 2, 3: the mean is taken off, and with `scale` the standard deviation 1 divides."""
    scores = torch.tensor([1.0, 2.0, 3.0])
    assert losses.group_advantages(scores, scale=False).tolist() == [-1.0, 0.0, 1.0]
    assert losses.group_advantages(scores, scale=True).tolist() == pytest.approx([-1.0, 0.0, 1.0], abs=2e-4)
    assert losses.group_advantages(torch.full((4,), 0.3), scale=True).tolist() == pytest.approx([0.0] * 4, abs=1e-3)


def test_the_clipped_ratio_by_hand() -> None:
    """Ratios 2 and ½, clip 0.2: a good token gains up to 1.2, a bad one is pushed at its full ratio, and back."""
    log_ratios = torch.tensor([[math.log(2.0), math.log(0.5)]] * 2)
    loss = losses.clipped_policy_loss(log_ratios, torch.tensor([1.0, -1.0]), 0.2)
    assert loss.tolist() == [pytest.approx([-1.2, -0.5]), pytest.approx([2.0, 0.8])]


def test_beyond_the_clip_no_gradient_flows() -> None:
    """A token that is already likelier than 1 + clip times is not pushed further."""
    log_ratios = torch.tensor([[math.log(1.5), 0.0]], requires_grad=True)
    torch.autograd.backward(losses.clipped_policy_loss(log_ratios, torch.tensor([1.0]), 0.2).sum())
    assert log_ratios.grad is not None
    assert log_ratios.grad.tolist() == [[0.0, -1.0]]


def test_the_k3_estimate_by_hand_and_unbiased() -> None:
    """exp(r) - r - 1 with r = log ref - log pi: 0 at the reference; its mean over pi is KL(pi, ref)."""
    policy, reference = torch.tensor([0.2, 0.8]).log(), torch.tensor([0.5, 0.5]).log()
    estimate = losses.k3_estimate(policy, reference)
    assert estimate.tolist() == pytest.approx([2.5 - math.log(2.5) - 1, 0.625 - math.log(0.625) - 1])
    exact = (policy.exp() * (policy - reference)).sum()
    assert float((policy.exp() * estimate).sum()) == pytest.approx(float(exact), rel=1e-6)
    assert losses.k3_estimate(policy, policy).tolist() == [0.0, 0.0]
