"""Promises of the discrete trainers: honest reference, LoRA weights alone, exact resumption."""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from silmm_plugins.training.dpo import DpoOptions
from silmm_plugins.training.objectives.likelihood_objective import LikelihoodWarning
from silmm_plugins.training.sft import Sft, SftOptions

from silmm.contracts.models import Latent, Preference
from silmm.contracts.training import Trainer
from silmm.errors import DataError, SilmmError
from silmm.lora.adapters import new_adapter, trainable_parameters
from silmm.lora.loading import load_adapter
from tests.plugins.training.preferences import preferences
from tests.plugins.training.training_run import QUICK, KilledError, dpo_trainer, job, train, weights
from tests.toy.tiny_random import TinyRandom


def run(
    folder: Path,
    trainer: Trainer,
    *,
    kill_at: int = 0,
    start: Path | None = None,
    seed: int = 1,
    model: TinyRandom | None = None,
    data: list[Preference] | None = None,
) -> list[Mapping[str, float]]:
    """Train in `folder`; return the metrics of each step."""
    return train(
        folder,
        trainer,
        model or TinyRandom(),
        preferences() if data is None else data,
        kill_at=kill_at,
        start=start,
        seed=seed,
    )


def test_step_one_shows_margin_0_and_loss_ln_2(tmp_path: Path) -> None:
    """Promise 5: before the first update policy and reference are one."""
    first = run(tmp_path, dpo_trainer(DpoOptions(**QUICK)))[0]
    assert first["margin"] == pytest.approx(0.0, abs=1e-5)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert first["kl"] == pytest.approx(0.0, abs=1e-8)


def test_bf16_policy_and_reference_share_their_precision(tmp_path: Path) -> None:
    """Under autocast the stored reference is that of the autocast model, not the one of float32."""
    data = preferences()
    first = run(tmp_path, dpo_trainer(DpoOptions(**QUICK | {"precision": "bf16"})), data=data)[0]
    stored = load_file(tmp_path / "work" / "reference.safetensors")["log_likelihood"]
    base = TinyRandom()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rounded = torch.cat([base.log_likelihood([p.prompt] * len(p.latents), p.latents) for p in data])
    with torch.no_grad():
        exact = torch.cat([base.log_likelihood([p.prompt] * len(p.latents), p.latents) for p in data])
    near, far = (float((stored - values).abs().max()) for values in (rounded, exact))
    assert near < far / 5
    assert first["margin"] == pytest.approx(0.0, abs=near + 1e-5)


def test_the_reference_of_a_tuned_start_is_that_adapter(tmp_path: Path) -> None:
    """Iteration 2 starts at margin 0 from the adapter of iteration 1, not from the base."""
    run(tmp_path / "one", dpo_trainer(DpoOptions(**QUICK)))
    start, data = tmp_path / "one" / "adapter", preferences()
    second = run(tmp_path / "two", dpo_trainer(DpoOptions(**QUICK)), start=start, seed=2, data=data)
    assert second[0]["margin"] == pytest.approx(0.0, abs=1e-5)
    stored = load_file(tmp_path / "two" / "work" / "reference.safetensors")["log_likelihood"]
    model, base = TinyRandom(), TinyRandom()
    load_adapter(model, start)
    with torch.no_grad():
        tuned, bare = (
            torch.cat([m.log_likelihood([p.prompt] * len(p.latents), p.latents) for p in data])
            for m in (model, base)
        )
    torch.testing.assert_close(stored, tuned, rtol=0, atol=1e-4)
    assert float((stored - bare).abs().max()) > 1e-2


def test_the_stored_reference_is_that_of_the_disabled_adapter(tmp_path: Path) -> None:
    """The values before step 1 are the bare base's log-likelihoods, candidate by candidate."""
    data = preferences()
    run(tmp_path, dpo_trainer(DpoOptions(**QUICK)), data=data)
    stored = load_file(tmp_path / "work" / "reference.safetensors")["log_likelihood"]
    base = TinyRandom()
    with torch.no_grad():
        expected = torch.cat([base.log_likelihood([p.prompt] * len(p.latents), p.latents) for p in data])
    torch.testing.assert_close(stored, expected, rtol=0, atol=1e-4)


def test_gradients_reach_the_lora_weights_and_nothing_else(tmp_path: Path) -> None:
    """The base's own weights are bit for bit the same after training; every LoRA B has moved."""
    model = TinyRandom()
    before = {name: p.detach().clone() for name, p in model.backbone.named_parameters()}
    run(tmp_path, dpo_trainer(DpoOptions(**QUICK)), model=model)
    after = dict(model.backbone.named_parameters())
    for name, value in before.items():
        wrapped = name if name in after else name.replace(".weight", ".base_layer.weight")
        assert torch.equal(after[wrapped], value)
    moved = [p for name, p in after.items() if "lora_B" in name]
    assert moved
    assert all(bool(p.any()) for p in moved)
    assert not any(p.requires_grad for p in after.values())


def test_training_widens_the_margin(tmp_path: Path) -> None:
    """DPO learns the preference: loss falls, the implicit reward ranks nearly all pairs right."""
    options = DpoOptions(**QUICK | {"max_steps": 40, "nll_weight": 1.0, "learning_rate": 2e-2})
    steps = run(tmp_path, dpo_trainer(options))
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert steps[-1]["margin"] > 0.3
    assert steps[-1]["accuracy"] > 0.9


def test_the_likelihood_term_holds_the_chosen_up(tmp_path: Path) -> None:
    """`nll` adds weight × the chosen's nats per token, and the chosen end likelier than without."""
    plain = run(tmp_path / "plain", dpo_trainer(DpoOptions(**QUICK)))
    held = run(tmp_path / "held", dpo_trainer(DpoOptions(**QUICK | {"nll_weight": 5.0})))
    assert held[-1]["chosen_logp"] > plain[-1]["chosen_logp"]
    assert held[0]["loss"] > plain[0]["loss"]


def test_sft_raises_the_chosen(tmp_path: Path) -> None:
    """The baseline makes the chosen likelier than under the reference."""
    steps = run(tmp_path, Sft(SftOptions(**QUICK | {"max_steps": 20})))
    assert steps[0]["chosen_logp"] == pytest.approx(0.0, abs=1e-5)
    assert steps[-1]["chosen_logp"] > 0.05


@pytest.mark.parametrize("trainer", [dpo_trainer(DpoOptions(**QUICK)), Sft(SftOptions(**QUICK))])
@pytest.mark.parametrize("kill_at", [1, 3, 5, 8])
def test_a_killed_training_ends_in_the_same_bytes(tmp_path: Path, trainer: Trainer, kill_at: int) -> None:
    """Stopped after any step and called again, the adapter and the last metrics are the same."""
    whole = run(tmp_path / "whole", trainer)
    with pytest.raises(KilledError):
        run(tmp_path / "killed", trainer, kill_at=kill_at)
    rest = run(tmp_path / "killed", trainer)
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    every = int(QUICK["checkpoint_every"])
    assert rest == whole[every * ((kill_at - 1) // every) :]


def test_killed_before_the_adapter_is_written(tmp_path: Path) -> None:
    """After the last checkpoint no step is left: the adapter is written from it, with its metrics."""
    trainer = dpo_trainer(DpoOptions(**QUICK))
    whole = run(tmp_path, trainer)
    expected = weights(tmp_path)
    shutil.rmtree(tmp_path / "adapter")
    calls: list[int] = []
    last = trainer.train(job(tmp_path, TinyRandom(), preferences(), lambda step, metrics: calls.append(step)))
    assert calls == []
    assert {"step": 8, **last} == whole[-1]
    assert weights(tmp_path) == expected


def test_a_resumed_training_reuses_the_stored_reference(tmp_path: Path) -> None:
    """The reference is computed once: a resumed run asks for the remaining steps alone."""
    trainer = dpo_trainer(DpoOptions(**QUICK | {"gradient_accumulation_steps": 1}))
    with pytest.raises(KilledError):
        run(tmp_path, trainer, kill_at=7)
    model = TinyRandom()
    run(tmp_path, trainer, model=model)
    assert len(model.likelihood_calls) == 2


def test_k_by_k_pairs_cost_2k_likelihoods(tmp_path: Path) -> None:
    """16 pairs of a prompt take 8 sequences through the model, not 32."""
    model = TinyRandom()
    options = DpoOptions(**QUICK | {"max_steps": 1, "warmup_steps": 0, "batch_size": 16,
        "gradient_accumulation_steps": 1})
    run(tmp_path, dpo_trainer(options), model=model, data=preferences(1, k=4))
    assert model.likelihood_calls == [8, 8]


def test_accumulation_changes_rounding_alone(tmp_path: Path) -> None:
    """One micro-batch or four: the same loss at every step up to float32 rounding."""
    whole = run(tmp_path / "one", dpo_trainer(DpoOptions(**QUICK | {"gradient_accumulation_steps": 1})))
    four = run(tmp_path / "four", dpo_trainer(DpoOptions(**QUICK | {"gradient_accumulation_steps": 4})))
    assert [m["loss"] for m in whole] == pytest.approx([m["loss"] for m in four], abs=1e-3)
    assert whole[0]["grad_norm"] == pytest.approx(four[0]["grad_norm"], rel=1e-3)


def test_other_data_does_not_meet_old_checkpoints(tmp_path: Path) -> None:
    """A work folder of other preferences is not mixed in: training starts anew."""
    trainer = dpo_trainer(DpoOptions(**QUICK))
    run(tmp_path / "a", trainer, data=preferences(seed=3))
    fresh = run(tmp_path / "b", trainer, data=preferences(seed=4))
    calls = run(tmp_path / "a", trainer, data=preferences(seed=4))
    assert calls == fresh
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_only_the_last_checkpoint_is_kept(tmp_path: Path) -> None:
    """Older checkpoints go when a newer one is in place."""
    run(tmp_path, dpo_trainer(DpoOptions(**QUICK)))
    assert [p.name for p in (tmp_path / "work").glob("checkpoint-*")] == ["checkpoint-00000008"]


def test_a_damaged_checkpoint_is_an_error_that_names_it(tmp_path: Path) -> None:
    """A corrupt checkpoint stops with a DataError that says which folder to delete."""
    trainer = dpo_trainer(DpoOptions(**QUICK))
    run(tmp_path, trainer)
    (tmp_path / "work" / "checkpoint-00000008" / "state.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match="checkpoint-00000008"):
        run(tmp_path, trainer)


@pytest.mark.parametrize("harm", ["position", "shape"])
def test_a_checkpoint_of_other_content_is_an_error_that_names_it(tmp_path: Path, harm: str) -> None:
    """A readable checkpoint without its keys, or with tensors of another shape, is refused as damaged."""
    folder, trainer = tmp_path / "work" / "checkpoint-00000008", dpo_trainer(DpoOptions(**QUICK))
    run(tmp_path, trainer)
    if harm == "position":
        (folder / "position.json").write_text("[]")
    else:
        tensors = load_file(folder / "state.safetensors")
        name = next(name for name in tensors if name.startswith("exp_avg/"))
        save_file(tensors | {name: torch.zeros(1)}, folder / "state.safetensors")
    with pytest.raises(DataError, match="checkpoint-00000008"):
        run(tmp_path, trainer)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    """The error says the step, and the last good checkpoint is still there."""

    class Breaks(TinyRandom):
        def log_likelihood(self, prompts: list[str], latents: list[Latent]) -> torch.Tensor:
            values = super().log_likelihood(prompts, latents)
            return values * math.nan if len(self.likelihood_calls) > 6 else values

    options = DpoOptions(**QUICK | {"gradient_accumulation_steps": 1})
    with pytest.raises(SilmmError, match=r"loss is not finite at step \d of 8"):
        run(tmp_path, dpo_trainer(options), model=Breaks())
    assert list((tmp_path / "work").glob("checkpoint-*"))
    assert not (tmp_path / "adapter").exists()


def test_a_falling_chosen_likelihood_warns_once(tmp_path: Path) -> None:
    """Collapse is said aloud: one warning a run, and the metric `chosen_falls` of each step."""
    trainer = dpo_trainer(DpoOptions(**QUICK | {"warn_drop": 1e-9, "max_steps": 12}))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = [Preference(p.prompt, p.latents[:1] + p.latents[2:3], ((1, 0),)) for p in preferences()]
        opposite = [Preference(p.prompt, p.latents, ((0, 1),)) for p in data]
        calls = run(tmp_path, trainer, data=data + opposite)
    assert any(metrics["chosen_falls"] for metrics in calls)
    assert sum(issubclass(w.category, LikelihoodWarning) for w in caught) == 1


def test_no_pairs_are_an_error() -> None:
    """Training on nothing, or on a pair of a candidate with itself, is refused with a reason."""
    z = np.zeros(6, dtype=np.int32)
    trainer = dpo_trainer(DpoOptions(**QUICK))
    with pytest.raises(DataError, match="no preference pairs"):
        run(Path("unused"), trainer, data=[])
    with pytest.raises(DataError, match="wrong pair"):
        run(Path("unused"), trainer, data=[Preference("a circle", (z, z), ((1, 1),))])


def test_dropout_is_off_in_policy_and_reference(tmp_path: Path) -> None:
    """A backbone left in training mode is put in evaluation mode: two runs agree bit for bit."""
    model = TinyRandom()
    model.backbone.train()
    run(tmp_path / "a", dpo_trainer(DpoOptions(**QUICK)), model=model)
    run(tmp_path / "b", dpo_trainer(DpoOptions(**QUICK)))
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_the_result_serves_as_an_adapter(tmp_path: Path) -> None:
    """The written folder loads on a fresh model and gives the trained likelihoods."""
    model = TinyRandom()
    run(tmp_path, dpo_trainer(DpoOptions(**QUICK)), model=model)
    other = TinyRandom()
    load_adapter(other, tmp_path / "adapter")
    p = preferences()[0]
    with torch.no_grad():
        own, expected = (m.log_likelihood([p.prompt] * 4, p.latents) for m in (model, other))
    assert torch.equal(own, expected)


def test_log_likelihood_reaches_every_lora_weight() -> None:
    """No target is dead: the first backward pass gives each LoRA B a gradient."""
    model = TinyRandom()
    new_adapter(model, rank=4, alpha=8, seed=0)
    parameters = trainable_parameters(model)
    p = preferences()[0]
    torch.autograd.backward(model.log_likelihood([p.prompt] * 4, p.latents).sum())
    assert all(q.grad is not None and q.grad.any() for n, q in parameters.items() if "lora_B" in n)


def test_the_learning_rate_warms_up_and_ends_near_zero() -> None:
    """Linear to the peak at step `warmup`, then transformers' cosine, one step ahead of it."""
    from transformers import get_cosine_schedule_with_warmup

    options = DpoOptions(max_steps=20, warmup_steps=5, learning_rate=1.0)
    assert [options.learning_rate_at(s) for s in (1, 5, 6)] == pytest.approx([0.2, 1.0, 1.0])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = get_cosine_schedule_with_warmup(optimizer, 5, 20)
    expected = []
    for _ in range(20):
        expected.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert [options.learning_rate_at(s) for s in range(6, 21)] == pytest.approx(expected[5:])


def test_the_defaults_are_the_papers() -> None:
    """App. 9: beta 0.2, lr 5e-5, 1,000 steps, 100 warm-up, batch 32, accumulation 4, LoRA 32."""
    o = DpoOptions()
    assert (o.beta, o.learning_rate, o.max_steps, o.warmup_steps, o.batch_size, o.gradient_accumulation_steps) == (
        0.2,
        5e-5,
        1000,
        100,
        32,
        4,
    )
    assert (o.rank, o.alpha, o.nll_weight) == (32, 32.0, 0.0)
