"""Promises of KC-DPO and C-DPO: the paper's formulas, grouped by prompt, at any kernel's scale."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from silmm_plugins.kernels.kernels import maxpool, one_minus_cosine, squared_euclidean
from silmm_plugins.training.c_dpo import CDpo, CDpoOptions
from silmm_plugins.training.kc_dpo import KcDpo, KcDpoOptions
from silmm_plugins.training.objectives.distance_objective import DistanceObjective, typical_distance
from silmm_plugins.training.sft import SftOptions

from silmm.contracts.models import Latent, Preference
from silmm.contracts.options import Given, complete
from silmm.errors import DataError
from silmm.lora.adapters import new_adapter, trainable_parameters
from tests.plugins.training.feature_preferences import feature_preferences
from tests.plugins.training.training_run import QUICK, train, weights
from tests.toy.tiny_continuous_random import TinyContinuousRandom

CALM = QUICK | {"warn_rise": 1e9}


def mixed() -> list[Preference]:
    """Return prompts with 1×1, 2×2, 3×3 and 1×3 pairs, one candidate of which is on both sides."""
    first, second, third, odd = (feature_preferences(4, k)[i] for i, k in enumerate((1, 2, 3, 2)))
    return [first, second, third, Preference(odd.prompt, odd.latents, ((0, 1), (0, 2), (1, 3)))]


def tuned_model() -> tuple[TinyContinuousRandom, dict[str, torch.nn.Parameter]]:
    """Return a model with an adapter that is not the base any more, and the adapter's weights."""
    model = TinyContinuousRandom()
    new_adapter(model, rank=4, alpha=8, seed=0)
    parameters = trainable_parameters(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model, parameters


def grouped(model, data, reference, trainer, gamma, kernel) -> torch.Tensor:
    """Return the loss of each pair as the training computes it."""
    weights = [torch.ones(len(p.pairs)) for p in data]
    objective = DistanceObjective(model, data, weights, 32, "fp32", reference, kernel, trainer.loss, gamma, 1.0)
    return objective.forward(range(len(data)))[0]


@pytest.mark.parametrize(("chosen_weight", "reference_weight"), [(0.0, 0.0), (0.5, 0.0), (0.25, 0.4)])
@pytest.mark.parametrize("kernel", [squared_euclidean, lambda a, b: one_minus_cosine(maxpool(a), maxpool(b))])
def test_grouped_pairs_are_equation_6_pair_by_pair(kernel, chosen_weight, reference_weight):
    """Loss, guards and gradients are those of each pair alone with a forward pass of its own."""
    data, gamma = mixed(), 0.7
    with torch.no_grad():
        reference = [TinyContinuousRandom().features([p.prompt])[0] for p in data]
    model, parameters = tuned_model()
    trainer = KcDpo(KcDpoOptions(chosen_weight=chosen_weight, reference_weight=reference_weight))
    actual = grouped(model, data, reference, trainer, gamma, kernel)
    own = torch.autograd.grad(actual.mean(), list(parameters.values()))

    singles = []
    for p, h_r in zip(data, reference, strict=True):
        for w, r in p.pairs:
            h, h_w, h_l = model.features([p.prompt])[0], *(torch.from_numpy(p.latents[i]) for i in (w, r))
            inner = -kernel(h, h_w) + kernel(h_r, h_w) + kernel(h, h_l) - kernel(h_r, h_l)
            guards = chosen_weight * gamma * kernel(h, h_w) + reference_weight * gamma * kernel(h, h_r)
            singles.append(-torch.sigmoid(gamma * inner).log() + guards)
    expected = torch.stack(singles)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    assert float((actual.detach() - math.log(2)).abs().max()) > 0.01
    for a, b in zip(own, torch.autograd.grad(expected.mean(), list(parameters.values())), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_equation_5_is_equation_6_with_eucl(tmp_path):
    """c-dpo is kc-dpo with kernel eucl and gamma = beta / (2 sigma²): loss, gradients, trained bytes."""
    data, options = mixed(), CDpoOptions(**CALM, beta=0.3, sigma=2.0)
    gamma = 0.3 / (2 * 2.0**2)
    c_dpo, kc_dpo = CDpo(options), KcDpo(KcDpoOptions(**CALM, gamma=gamma), squared_euclidean)
    with torch.no_grad():
        reference = [TinyContinuousRandom().features([p.prompt])[0] for p in data]
    model, parameters = tuned_model()
    results = []
    for trainer in (c_dpo, kc_dpo):
        loss = grouped(model, data, reference, trainer, gamma, squared_euclidean)
        results.append((loss, *torch.autograd.grad(loss.sum(), list(parameters.values()))))
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)
    calls = [
        train(tmp_path / name, trainer, TinyContinuousRandom(), data)
        for name, trainer in (("c", c_dpo), ("kc", kc_dpo))
    ]
    assert calls[0] == calls[1]
    assert weights(tmp_path / "c") == weights(tmp_path / "kc")


def test_auto_gamma_is_the_scale_over_the_median_distance(tmp_path):
    """gamma=auto divides gamma_scale by the median of k(H_w, H_l) over all pairs, and reports it."""
    data = mixed()
    differences = [p.latents[w] - p.latents[r] for p in data for w, r in p.pairs]
    distances = [float(np.square(difference, dtype=np.float64).sum()) for difference in differences]
    assert typical_distance(squared_euclidean, data) == pytest.approx(np.median(distances), rel=1e-5)
    trainer = KcDpo(KcDpoOptions(**CALM, gamma="auto", gamma_scale=2.0), squared_euclidean)
    for step in train(tmp_path, trainer, TinyContinuousRandom(), data):
        assert step["gamma_eff"] == pytest.approx(2.0 / np.median(distances), rel=1e-5)


def test_with_auto_gamma_the_scale_of_the_kernel_does_not_matter(tmp_path):
    """A kernel 1000 times as large gives the same losses and accuracies, the anchor included."""
    options = KcDpoOptions(**CALM, gamma="auto", chosen_weight=0.5)
    runs = [
        train(
            tmp_path / str(scale), KcDpo(options, lambda a, b, s=scale: s * squared_euclidean(a, b)),
            TinyContinuousRandom(), mixed(),
        )
        for scale in (1.0, 1000.0)
    ]  # fmt: skip
    assert [m["loss"] for m in runs[0]] == pytest.approx([m["loss"] for m in runs[1]], rel=1e-3)
    assert runs[1][0]["chosen_distance"] == pytest.approx(1000 * runs[0][0]["chosen_distance"], rel=1e-4)


def test_candidates_that_are_alike_have_no_scale(tmp_path):
    """gamma=auto on equal candidates is an error that says what to change, not a division by zero."""
    item = feature_preferences(1, k=1)[0]
    same = [Preference(item.prompt, (item.latents[0], item.latents[0].copy()), ((0, 1),))]
    with pytest.raises(DataError, match=r"trainer\.gamma to a number"):
        train(tmp_path, KcDpo(KcDpoOptions(**CALM, gamma="auto")), TinyContinuousRandom(), same)


def test_the_restraint_keeps_the_policy_near_the_reference(tmp_path):
    """Under a high learning rate the restrained policy drifts less than with the paper's loss alone."""
    data = feature_preferences()
    drifts = [
        train(
            tmp_path / str(weight),
            KcDpo(KcDpoOptions(**CALM | {"max_steps": 30}, gamma="auto", reference_weight=weight)),
            TinyContinuousRandom(), data,
        )[-1]["drift"]
        for weight in (0.0, 0.5)
    ]  # fmt: skip
    assert 0 < drifts[1] < 0.7 * drifts[0]


def test_the_anchor_keeps_the_policy_near_the_chosen(tmp_path):
    """Under a high learning rate the anchored policy ends nearer to the chosen than the paper's loss."""
    data = feature_preferences()
    ends = [
        train(
            tmp_path / str(anchor), KcDpo(KcDpoOptions(**CALM | {"max_steps": 30}, gamma="auto", chosen_weight=anchor)),
            TinyContinuousRandom(), data,
        )[-1]
        for anchor in (0.0, 0.5)
    ]  # fmt: skip
    assert ends[1]["chosen_distance"] < 0.5 * ends[0]["chosen_distance"]


class Lazy(Sequence[Latent]):
    """Candidates that are read one at a time; counts how often."""

    def __init__(self, latents: Sequence[Latent]) -> None:
        self.latents, self.reads = latents, 0

    def __len__(self) -> int:
        """Count the candidates, without reading one."""
        return len(self.latents)

    def __getitem__(self, index):
        """Read a candidate."""
        self.reads += 1
        return self.latents[index]

    def __iter__(self) -> Iterator[Latent]:
        """Read one after the other."""
        return (self[i] for i in range(len(self)))


def test_only_the_candidates_of_the_batch_are_read(tmp_path):
    """A step loads the candidates of its own prompts; all others are read once, for the digest."""
    data = [Preference(p.prompt, Lazy(p.latents), p.pairs) for p in feature_preferences(6)]
    options = KcDpoOptions(**CALM | {"max_steps": 1, "warmup_steps": 0, "batch_size": 4})
    train(tmp_path, KcDpo(options), TinyContinuousRandom(), data)
    reads = [p.latents.reads for p in data]
    reads[0] -= 2  # the first pair tells the kernel's identity
    assert sorted(reads) == [4, 4, 4, 4, 4, 8]


def test_gamma_is_a_positive_number_or_auto():
    """Text of the command line is read as either; anything else is refused with a reason."""
    for text, value in (("auto", "auto"), ("0.5", 0.5), ("3", 3.0)):
        read = complete(KcDpoOptions, "trainer 'kc-dpo'", {"gamma": Given(text, "--set", text=True)})
        assert read["gamma"] == value
    for wrong in (0.0, -1.0, "median"):
        with pytest.raises(ValidationError):
            KcDpoOptions(gamma=wrong)


@pytest.mark.parametrize("options", [KcDpoOptions(), CDpoOptions()])
def test_the_defaults_are_the_papers_for_dreamllm(options):
    """App. 9: lr 8e-6, 2,000 steps, 200 warm-up, batch 32, accumulation 4, LoRA 32; gamma 3, no anchor."""
    actual = (options.learning_rate, options.max_steps, options.warmup_steps, options.batch_size,
        options.gradient_accumulation_steps)
    assert actual == (8e-6, 2000, 200, 32, 4)
    assert (options.rank, options.alpha) == (32, 32.0)
    if isinstance(options, KcDpoOptions):
        assert (options.gamma, options.chosen_weight) == (3.0, 0.0)


def test_sft_keeps_the_settings_of_seed_llama():
    """One name for both kinds has one set of defaults: those of every discrete trainer."""
    assert (SftOptions().learning_rate, SftOptions().max_steps, SftOptions().warmup_steps) == (5e-5, 1000, 100)
