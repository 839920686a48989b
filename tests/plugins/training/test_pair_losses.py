"""Promises of the pair losses and their options: weights, the reference term, layers, losses of other packages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from silmm_plugins.training import simpo
from silmm_plugins.training.dpo import DpoOptions, dpo
from silmm_plugins.training.ipo import IpoOptions, ipo
from silmm_plugins.training.kc_dpo import KcDpo, KcDpoOptions
from silmm_plugins.training.lora.lora_options import LikelihoodOptions
from silmm_plugins.training.objectives.preference_data import pair_weights
from silmm_plugins.training.pair_loss import PairBatch, PairLossTrainer, register_pair_loss
from silmm_plugins.training.sft import Sft, SftOptions

from silmm.contracts.models import Preference
from silmm.errors import DataError, UsageError
from silmm.registry.discovery import Origin
from silmm.registry.registration import collector
from tests.plugins.training.feature_preferences import feature_preferences
from tests.plugins.training.preferences import preferences
from tests.plugins.training.training_run import QUICK, dpo_trainer, train, weights
from tests.toy.tiny_continuous_random import TinyContinuousRandom
from tests.toy.tiny_random import TinyRandom


def scored(data: list[Preference]) -> list[Preference]:
    """Return the preferences with scores: the chosen 0.9 and 0.8, the rejected 0.5 and 0.0, by prompt less apart."""
    return [
        replace(p, scores=tuple(s / (1 + i % 3) for s in (0.9, 0.8, 0.5, 0.0)), weights=()) for i, p in enumerate(data)
    ]


def batch(policy: list[float], reference: list[float]) -> tuple[torch.Tensor, PairBatch]:
    """Return log pi and the batch of one prompt: candidate 0 chosen over 1, of 4 tokens each."""
    pair = (torch.tensor([0]), torch.tensor([1]))
    return torch.tensor(policy), PairBatch(["x"] * 2, [], torch.tensor(reference), torch.full((2,), 4.0), *pair)


def test_the_reference_term_by_hand() -> None:
    """Log-ratios +3 and -1 nats: weight 0.02 adds 0.02 × (4.5 + 0.5) / 2 to Eq. 2."""
    policy, pair = batch([-7.0, -11.0], [-10.0, -10.0])
    plain = dpo(policy, pair, DpoOptions())
    held = dpo(policy, pair, DpoOptions(reference_weight=0.02))
    assert float(held - plain) == pytest.approx(0.05, rel=1e-5)


def test_simpo_and_ipo_by_hand() -> None:
    """-7 and -11 nats of 4 tokens are 1 nat per token apart, and 4 nats against the reference."""
    policy, pair = batch([-7.0, -11.0], [-10.0, -10.0])
    loss = simpo.simpo(policy, pair, simpo.SimpoOptions(beta=2.0, gamma=1.0))
    assert float(loss) == pytest.approx(float(-torch.nn.functional.logsigmoid(torch.tensor(1.0))), rel=1e-6)
    assert float(ipo(policy, pair, IpoOptions(tau=0.25))) == pytest.approx((4.0 - 2.0) ** 2)


def test_gap_weights_are_gaps_over_their_mean() -> None:
    """Each pair by its score gap; the mean over all pairs of all prompts is 1, times the pair's own weight."""
    data = scored(preferences(4))
    gaps = [[p.scores[w] - p.scores[r] for w, r in p.pairs] for p in data]
    mean = sum(map(sum, gaps)) / sum(map(len, gaps))
    actual = pair_weights(data, "gap")
    for weight, gap in zip(actual, gaps, strict=True):
        assert weight.tolist() == pytest.approx([g / mean for g in gap])
    assert float(torch.cat(actual).mean()) == pytest.approx(1.0)
    doubled = pair_weights([replace(p, weights=(2.0,) * len(p.pairs)) for p in data], "gap")
    assert torch.cat(doubled).tolist() == pytest.approx((2 * torch.cat(actual)).tolist())
    assert torch.cat(pair_weights(data, "none")).tolist() == [1.0] * 16


@pytest.mark.parametrize("scores", [(), (0.9, None, 0.5, 0.0), (0.0, 0.1, 0.5, 0.9), (0.5,) * 4])
def test_gap_weights_need_a_score_that_prefers_the_chosen(scores: tuple[float | None, ...]) -> None:
    """No scores, a missing one, a chosen below its rejected, or no gap at all are refused with a way out."""
    data = [replace(p, scores=scores) for p in preferences(2)]
    with pytest.raises(DataError, match=r"trainer\.weighting=none"):
        pair_weights(data, "gap")


@pytest.mark.parametrize("make", [
    lambda o: (dpo_trainer(DpoOptions(**QUICK, **o)), TinyRandom(), preferences(4)),
    lambda o: (Sft(SftOptions(**QUICK, **o)), TinyRandom(), preferences(4)),
    lambda o: (KcDpo(KcDpoOptions(**QUICK, warn_rise=1e9, **o)), TinyContinuousRandom(), feature_preferences(4)),
])  # fmt: skip
def test_weights_multiply_the_loss_of_each_pair(tmp_path: Any, make: Any) -> None:
    """Own weights of 3 give three times the loss at step 1; gap weights are the same training as such own weights."""
    losses = {}
    for name, (options, own) in {
        "plain": ({}, False), "tripled": ({}, 3.0), "gap": ({"weighting": "gap"}, False), "own": ({}, True),
    }.items():  # fmt: skip
        trainer, model, data = make(options)
        data = scored(data)
        if own:
            gaps = [tuple(w.tolist()) for w in pair_weights(data, "gap")]
            data = [
                replace(p, weights=(own,) * len(p.pairs) if own is not True else g)
                for p, g in zip(data, gaps, strict=True)
            ]
        losses[name] = train(tmp_path / name, trainer, model, data)[0]["loss"]
    assert losses["tripled"] == pytest.approx(3 * losses["plain"], rel=1e-5)
    assert weights(tmp_path / "gap") == weights(tmp_path / "own") != weights(tmp_path / "plain")


def test_layers_choose_where_lora_is(tmp_path: Any) -> None:
    """`layers` of the options decide which decoder layers of the model's targets carry an adapter."""
    for layers, numbers in {"all": {0, 1}, "last:1": {1}, "0": {0}, "0-1": {0, 1}}.items():
        model = TinyRandom()
        options = DpoOptions(**QUICK | {"max_steps": 2, "layers": layers})
        train(tmp_path / layers.replace(":", "-"), dpo_trainer(options), model, preferences())
        names = [name for name, _ in model.backbone.named_parameters() if "lora_A" in name]
        assert {int(name.split(".")[2]) for name in names} == numbers
        assert len(names) == 7 * len(numbers)
    with pytest.raises(UsageError, match="are in the layers 0, 1"):
        train(tmp_path / "x", dpo_trainer(DpoOptions(**QUICK, layers="1-2")), TinyRandom(), preferences())
    with pytest.raises(ValueError, match="layers"):
        DpoOptions(layers="upper")


def hinge(policy: torch.Tensor, pairs: PairBatch, options: LikelihoodOptions) -> torch.Tensor:
    """Return a hinge on the log-ratios."""
    ratios = policy - pairs.reference
    return (1 - ratios[pairs.chosen] + ratios[pairs.rejected]).clamp(min=0)


def test_a_loss_of_another_package_is_a_trainer(tmp_path: Any) -> None:
    """`register_pair_loss` makes a trainer of discrete models of a plain function."""
    entries: list[Any] = []
    register = collector("trainer", Origin("hinge", "hinge", "hinge-package", "1.0"), entries)
    register_pair_loss(register, "hinge", hinge, summary="A hinge on the log-ratios.")
    (entry,) = entries
    assert (entry.kinds, entry.requires) == (("discrete",), frozenset({"log_likelihood"}))
    trainer = entry.factory(LikelihoodOptions(**QUICK))
    assert isinstance(trainer, PairLossTrainer)
    steps = train(tmp_path, trainer, TinyRandom(), preferences())
    assert steps[0]["loss"] == pytest.approx(1.0, abs=1e-5)
    assert steps[-1]["margin"] > 0
