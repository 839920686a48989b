"""Promises of all continuous trainers: honest reference, LoRA weights alone, exact resumption."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from silmm_plugins.kernels.kernels import one_minus_cosine, squared_euclidean
from silmm_plugins.training.c_dpo import CDpo, CDpoOptions
from silmm_plugins.training.kc_dpo import KcDpo, KcDpoOptions
from silmm_plugins.training.mc_dpo import McDpo, McDpoOptions
from silmm_plugins.training.objectives import reference_features
from silmm_plugins.training.objectives.distance_objective import DistanceWarning
from silmm_plugins.training.sft import Sft, SftOptions

from silmm.contracts.models import Preference
from silmm.errors import DataError, SilmmError
from silmm.lora.loading import load_adapter
from tests.plugins.training.feature_preferences import feature_preferences
from tests.plugins.training.training_run import QUICK, KilledError, train, weights
from tests.toy.tiny_continuous_random import PROMPTS, TinyContinuousRandom

CALM = QUICK | {"warn_rise": 1e9}
ANCHORED = {"gamma": "auto", "chosen_weight": 0.5}
BY_DISTANCE = {
    "kc-dpo": KcDpo(KcDpoOptions(**CALM)),
    "kc-dpo, guarded": KcDpo(KcDpoOptions(**CALM, **ANCHORED), one_minus_cosine),
    "c-dpo": CDpo(CDpoOptions(**CALM)),
    "sft": Sft(SftOptions(**CALM), squared_euclidean),
}
ALL = BY_DISTANCE | {"mc-dpo": McDpo(McDpoOptions(**QUICK, passes=3, warn_drop=1e9))}

each = pytest.mark.parametrize("name", ALL)
each_by_distance = pytest.mark.parametrize("name", BY_DISTANCE)


def model() -> TinyContinuousRandom:
    return TinyContinuousRandom()


@pytest.fixture(scope="module")
def data() -> list[Preference]:
    return feature_preferences()


@each
def test_step_one_shows_margin_0_and_loss_ln_2(tmp_path, data, name):
    """Promise 5: before the first update policy and reference are one; the anchor comes on top of ln 2."""
    first = train(tmp_path, ALL[name], model(), data)[0]
    expected = math.log(2)
    if name == "sft":
        expected = first["reference_chosen_distance"]
    if name == "kc-dpo, guarded":
        expected += 0.5 * first["gamma_eff"] * first["reference_chosen_distance"]
    assert first["margin"] == pytest.approx(0.0, abs=1e-4)
    assert first["loss"] == pytest.approx(expected, rel=1e-5)
    if name in BY_DISTANCE:
        for side in ("chosen", "rejected"):
            assert first[f"{side}_distance"] == pytest.approx(first[f"reference_{side}_distance"], rel=1e-4)
        assert first["drift"] == pytest.approx(0.0, abs=1e-6)


@each
def test_gradients_reach_the_lora_weights_and_nothing_else(tmp_path, data, name):
    """The base's own weights are bit for bit the same after training; every LoRA B has moved."""
    trained = model()
    before = {key: p.detach().clone() for key, p in trained.lm.named_parameters()}
    train(tmp_path, ALL[name], trained, data)
    after = dict(trained.lm.named_parameters())
    for key, value in before.items():
        wrapped = key if key in after else key.replace(".weight", ".base_layer.weight")
        assert torch.equal(after[wrapped], value)
    moved = [p for key, p in after.items() if "lora_B" in key]
    assert moved
    assert all(bool(p.any()) for p in moved)
    assert not any(p.requires_grad for p in after.values())


@each
@pytest.mark.parametrize("kill_at", [2, 5])
def test_a_killed_training_ends_in_the_same_bytes(tmp_path, data, name, kill_at):
    """Stopped after any step and called again, the adapter and the last metrics are the same."""
    whole = train(tmp_path / "whole", ALL[name], model(), data)
    with pytest.raises(KilledError):
        train(tmp_path / "killed", ALL[name], model(), data, kill_at=kill_at)
    rest = train(tmp_path / "killed", ALL[name], model(), data)
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert rest == whole[3 * ((kill_at - 1) // 3) :]


@each
def test_dropout_is_off_in_policy_and_reference(tmp_path, data, name):
    """A backbone left in training mode, with dropout in its attention, is put in evaluation mode."""
    noisy = model()
    for layer in noisy.backbone.model.layers:
        layer.self_attn.attention_dropout = 0.5
    noisy.backbone.train()
    with torch.no_grad():
        assert not torch.equal(noisy.features(PROMPTS), noisy.features(PROMPTS))
    train(tmp_path / "a", ALL[name], noisy, data)
    train(tmp_path / "b", ALL[name], model(), data)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


@each
def test_accumulation_changes_rounding_alone(tmp_path, data, name):
    """One micro-batch or four: the same first loss and gradient up to float32 rounding."""
    whole, four = (
        train(
            tmp_path / str(parts),
            type(ALL[name])(ALL[name].options.model_copy(update={"gradient_accumulation_steps": parts})),
            model(), data, kill_at=0,
        )[0]
        for parts in (1, 4)
    )  # fmt: skip
    assert whole["loss"] == pytest.approx(four["loss"], rel=1e-4)
    assert whole["grad_norm"] == pytest.approx(four["grad_norm"], rel=1e-3)


@each
def test_training_learns_the_preference(tmp_path, data, name):
    """With more steps nearly all pairs are ranked right, and the loss falls."""
    options = ALL[name].options.model_copy(update={"max_steps": 40})
    kernel = {"kernel": ALL[name].kernel} if name in ("kc-dpo", "sft") else {}
    steps = train(tmp_path, type(ALL[name])(options, **kernel), model(), data)
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert np.mean([step["accuracy"] for step in steps[-5:]]) > 0.8
    if name in ("kc-dpo, guarded", "sft"):
        assert steps[-1]["chosen_distance"] < steps[-1]["reference_chosen_distance"]


@each_by_distance
def test_the_stored_reference_is_the_bases_h(tmp_path, data, name):
    """The values before step 1 are the bare base's features, prompt by prompt."""
    train(tmp_path, ALL[name], model(), data)
    stored = load_file(tmp_path / "work" / "reference-00000.safetensors")["features"]
    with torch.no_grad():
        expected = model().features([p.prompt for p in data])
    torch.testing.assert_close(stored, expected, rtol=0, atol=1e-4)


def test_the_reference_of_a_tuned_start_is_that_adapter(tmp_path, data):
    """Iteration 2 starts at margin 0 from the adapter of iteration 1, not from the base."""
    trainer = BY_DISTANCE["kc-dpo"]
    train(tmp_path / "one", trainer, model(), data)
    start = tmp_path / "one" / "adapter"
    second = train(tmp_path / "two", trainer, model(), data, start=start, seed=2)
    assert second[0]["margin"] == pytest.approx(0.0, abs=1e-4)
    stored = load_file(tmp_path / "two" / "work" / "reference-00000.safetensors")["features"]
    tuned, texts = model(), [p.prompt for p in data]
    load_adapter(tuned, start)
    with torch.no_grad():
        torch.testing.assert_close(stored, tuned.features(texts), rtol=0, atol=1e-4)
        assert float((stored - model().features(texts)).abs().max()) > 1e-2


def test_bf16_runs_the_model_alone_in_half_precision(tmp_path, data):
    """Distances see float32 outside of autocast; policy and reference share the rounded forward pass."""

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        assert a.dtype == b.dtype == torch.float32
        assert not torch.is_autocast_enabled("cpu")
        return one_minus_cosine(a, b)

    first = train(tmp_path, KcDpo(KcDpoOptions(**CALM, precision="bf16"), kernel), model(), data)[0]
    stored = load_file(tmp_path / "work" / "reference-00000.safetensors")["features"]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rounded = model().features([p.prompt for p in data]).float()
    exact = model().features([p.prompt for p in data])
    assert float((stored - rounded).abs().max()) < float((stored - exact).abs().max()) / 2
    assert first["margin"] == pytest.approx(0.0, abs=1e-2)


def test_a_resumed_training_reuses_the_stored_reference(tmp_path, data):
    """The reference is computed once: a resumed run asks for the remaining steps alone."""
    trainer = KcDpo(KcDpoOptions(**CALM, gradient_accumulation_steps=1))
    with pytest.raises(KilledError):
        train(tmp_path, trainer, model(), data, kill_at=7)
    resumed = model()
    train(tmp_path, trainer, resumed, data)
    assert resumed.feature_calls == [2, 2]


def test_the_reference_comes_in_parts(tmp_path, data, monkeypatch):
    """Many prompts are several files; of a killed or damaged store only what is missing is made again."""
    trainer = BY_DISTANCE["kc-dpo"]
    whole = train(tmp_path / "one", trainer, model(), data)
    monkeypatch.setattr(reference_features, "PART", 3)
    with pytest.raises(KilledError):
        train(tmp_path / "parts", trainer, model(), data, kill_at=1)
    files = sorted((tmp_path / "parts" / "work").glob("reference-*"))
    assert [file.name[-17:] for file in files] == [f"0000{n}.safetensors" for n in range(3)]
    files[1].write_bytes(b"damaged")
    again = model()
    steps = train(tmp_path / "parts", trainer, again, data)
    assert [m["loss"] for m in steps] == pytest.approx([m["loss"] for m in whole], rel=1e-3)
    assert again.feature_calls[:2] == [2, 1]  # prompts 3 to 5, in runs of batch / accumulation
    assert len(again.feature_calls) == 2 + 2 * 8


def test_k_by_k_pairs_cost_one_forward_pass_and_2k_distances(tmp_path):
    """16 pairs of a prompt: one row for the reference, one a step; 8 + 8 distances, and one for the drift."""
    counted = []

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        counted.append(squared_euclidean(a, b).numel())
        return squared_euclidean(a, b)

    item = model()
    options = KcDpoOptions(**CALM | {"max_steps": 1, "warmup_steps": 0, "batch_size": 16})
    train(tmp_path, KcDpo(options, kernel), item, feature_preferences(1, k=4))
    assert item.feature_calls == [1, 1]
    assert sum(counted) == 8 + 8 + 1 + 1  # the last: the kernel's identity


def test_other_data_or_another_kernel_does_not_meet_old_checkpoints(tmp_path, data):
    """A work folder of other preferences or of another kernel is not mixed in: training starts anew."""
    trainer, other = BY_DISTANCE["kc-dpo"], KcDpo(BY_DISTANCE["kc-dpo"].options, one_minus_cosine)
    train(tmp_path / "a", trainer, model(), data)
    for using, what in ((other, data), (other, feature_preferences(seed=4))):
        fresh = train(tmp_path / f"b{len(list(tmp_path.iterdir()))}", using, model(), what)
        assert train(tmp_path / "a", using, model(), what) == fresh


def test_moving_away_from_the_chosen_warns_once(tmp_path, data):
    """Running away is said aloud: one warning a run, and the metric `chosen_recedes` of each step."""
    trainer = KcDpo(KcDpoOptions(**QUICK | {"warn_rise": 1e-6, "max_steps": 12}))
    opposite = [Preference(p.prompt, p.latents, tuple((r, c) for c, r in p.pairs)) for p in data]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        steps = train(tmp_path, trainer, model(), data + opposite)
    assert any(step["chosen_recedes"] for step in steps)
    assert sum(issubclass(item.category, DistanceWarning) for item in caught) == 1


def test_candidates_of_another_shape_are_refused(tmp_path, data):
    """Features of another model stop with an error that tells both shapes."""
    odd = [Preference(p.prompt, tuple(z[:, :3] for z in p.latents), p.pairs) for p in data]
    with pytest.raises(DataError, match=r"shape \(4, 3\) and the model's features \(4, 16\)"):
        train(tmp_path, BY_DISTANCE["c-dpo"], model(), odd)


def test_a_reference_that_is_not_finite_is_refused(tmp_path, data):
    """A damaged model is found before the first step, with the prompt that shows it."""
    broken = model()
    with torch.no_grad():
        broken.backbone.model.embed_tokens.weight[broken.lm.vocabulary.encode("three")] = math.nan
    with pytest.raises(SilmmError, match="features of 'three circle' are not finite"):
        train(tmp_path, BY_DISTANCE["kc-dpo"], broken, data)


def test_the_result_serves_as_an_adapter(tmp_path, data):
    """The written folder loads on a fresh model and gives the trained features."""
    own, other = model(), model()
    train(tmp_path, BY_DISTANCE["kc-dpo"], own, data)
    load_adapter(other, tmp_path / "adapter")
    with torch.no_grad():
        assert torch.equal(own.features(PROMPTS), other.features(PROMPTS))


def test_the_default_kernel_is_the_papers_best():
    """Without a kernel the trainers use avgpool-cos: 1 - cosine of the means over the positions."""
    a, b = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    expected = 1 - torch.nn.functional.cosine_similarity(a.mean(0), b.mean(0), dim=0)
    assert float(KcDpo(KcDpoOptions()).kernel(a, b)) == pytest.approx(float(expected), abs=1e-6)


def test_the_work_folder_holds_safe_files_alone(tmp_path: Path, data):
    """Reference and checkpoints are safetensors and JSON."""
    train(tmp_path, BY_DISTANCE["sft"], model(), data)
    assert {p.suffix for p in (tmp_path / "work").rglob("*") if p.is_file()} == {".safetensors", ".json"}
