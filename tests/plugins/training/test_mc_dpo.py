"""Promises of the MC-dropout likelihood: the Gaussian of its passes, under masks of the seed."""

from __future__ import annotations

import pytest
import torch
from silmm_plugins.models._shared.mlp_dropout import MlpDropoutOptions, mlp_dropout
from silmm_plugins.training.mc_dpo import McDpo, McDpoOptions

from silmm.seeds import derive
from tests.plugins.training.feature_preferences import feature_preferences
from tests.plugins.training.training_run import QUICK, train
from tests.toy.tiny_continuous_random import QUERIES, TinyContinuousRandom

OPTIONS = McDpoOptions(**QUICK, passes=5, rate=0.2, floor=0.03, warn_drop=1e9)


def likelihoods(data, seed=1, model=None):
    """Return log pi of every candidate of some prompts."""
    prompts = [p.prompt for p in data for _ in p.latents]
    latents = [z for p in data for z in p.latents]
    return McDpo(OPTIONS).log_likelihood(
        model or TinyContinuousRandom(), prompts, latents, "fp32", seed=seed
    )


def test_it_is_the_gaussian_of_the_passes():
    """Each pass sampled alone, then torch's own normal distribution with their mean and variance."""
    data, model = feature_preferences(1), TinyContinuousRandom()
    dropout = MlpDropoutOptions(rate=0.2, layers="all", positions="all")
    sampled = []
    for number in range(5):
        seeds = [derive(1, "mc-dropout", data[0].prompt, number)]
        with torch.no_grad(), mlp_dropout(model, seeds, dropout, QUERIES):
            sampled.append(model.features([data[0].prompt])[0])
    stacked = torch.stack(sampled)
    normal = torch.distributions.Normal(stacked.mean(0), (stacked.var(0) + 0.03).sqrt())
    expected = torch.stack([normal.log_prob(torch.from_numpy(z)).sum() for z in data[0].latents])
    with torch.no_grad():
        torch.testing.assert_close(likelihoods(data), expected, rtol=1e-3, atol=1e-2)


def test_a_prompt_does_not_depend_on_its_batch():
    """Alone or among others, a candidate has the same likelihood; another seed gives another."""
    data = feature_preferences(4)
    with torch.no_grad():
        together, alone = likelihoods(data), torch.cat([likelihoods([p]) for p in data])
        other = likelihoods(data, seed=2)
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-2)
    assert float((together - other).abs().min()) > 0.1


def test_it_reaches_the_backbone_through_the_dropout():
    """The estimate is differentiable: each query of the backbone's last norm gets a gradient."""
    model = TinyContinuousRandom()
    weight = model.backbone.model.norm.weight.requires_grad_(True)
    (gradient,) = torch.autograd.grad(likelihoods(feature_preferences(2), model=model).sum(), [weight])
    assert bool(gradient.all())


def test_a_prompt_costs_as_many_passes_as_asked(tmp_path):
    """Beside kc-dpo's one row: `passes` rows of each prompt, for the reference and at every step."""
    model = TinyContinuousRandom()
    options = OPTIONS.model_copy(update={"max_steps": 2, "warmup_steps": 0, "batch_size": 4,
        "gradient_accumulation_steps": 1})
    train(tmp_path, McDpo(options), model, feature_preferences(1))
    assert model.feature_calls == [5, 5, 5]


@pytest.mark.parametrize("wrong", [{"passes": 1}, {"rate": 0.0}, {"rate": 1.0}, {"floor": 0.0}])
def test_settings_without_a_variance_are_refused(wrong):
    """One pass, no dropout or no floor leave no Gaussian to speak of."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        McDpoOptions(**wrong)
