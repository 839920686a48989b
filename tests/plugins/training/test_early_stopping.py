"""Promises of validation while training: a logged series, the best weights, the stop, exact resumption."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from silmm_plugins.training.c_dpo import CDpo, CDpoOptions
from silmm_plugins.training.dpo import DpoOptions
from silmm_plugins.training.kc_dpo import KcDpo, KcDpoOptions
from silmm_plugins.training.lora.early_stopping import ValidationWarning
from silmm_plugins.training.mc_dpo import McDpo, McDpoOptions
from silmm_plugins.training.sft import Sft, SftOptions

from silmm.contracts.models import BaseModel, Preference, ValidationScore
from silmm.contracts.training import Trainer
from silmm.errors import SilmmError
from tests.plugins.training.feature_preferences import feature_preferences
from tests.plugins.training.preferences import preferences
from tests.plugins.training.training_run import QUICK, KilledError, dpo_trainer, job, train, weights
from tests.toy.tiny_continuous_random import TinyContinuousRandom
from tests.toy.tiny_random import TinyRandom

EVERY = 3
"""QUICK trains 8 steps: validations of the reference and after steps 3, 6 and 8."""
LIKELIHOODS, DISTANCES = {**QUICK, "warn_drop": 1e9}, {**QUICK, "warn_rise": 1e9}
Build = Callable[[Mapping[str, Any]], Trainer]
DISCRETE: Mapping[str, Build] = {
    "dpo": lambda o: dpo_trainer(DpoOptions(**{**LIKELIHOODS, **o})),
    "sft": lambda o: Sft(SftOptions(**{**LIKELIHOODS, **o})),
}
CONTINUOUS: Mapping[str, Build] = {
    "kc-dpo": lambda o: KcDpo(KcDpoOptions(**{**DISTANCES, "gamma": "auto", **o})),
    "c-dpo": lambda o: CDpo(CDpoOptions(**{**DISTANCES, **o})),
    "mc-dpo": lambda o: McDpo(McDpoOptions(**{**LIKELIHOODS, "passes": 2, **o})),
    "sft-features": lambda o: Sft(SftOptions(**{**DISTANCES, **o})),
}
TRAINERS = {**DISCRETE, **CONTINUOUS}
BOTH_KINDS = ("dpo", "kc-dpo")


@pytest.fixture(scope="module")
def features() -> list[Preference]:
    """Return preferences of the continuous model."""
    return feature_preferences()


def tuned(model: BaseModel) -> dict[str, torch.Tensor]:
    """Return the adapter's weights as they are."""
    return {name: p.detach().clone() for name, p in model.backbone.named_parameters() if "lora_" in name}


def moved(actual: Mapping[str, torch.Tensor]) -> float:
    """Return how far an adapter is from a fresh one."""
    return sum(float(weights.double().abs().sum()) for name, weights in actual.items() if "lora_B" in name)


class Looked:
    """A validation that keeps the weights that it saw and scores them."""

    def __init__(self, model: BaseModel, scores: list[float] | float) -> None:
        """Score `model` by a list, or by how far it has moved: best where that is the number given."""
        self.model = model
        self.scores = scores
        self.weights_seen: list[dict[str, torch.Tensor]] = []

    def __call__(self) -> ValidationScore:
        """Return the next score; sample random numbers as a model's own sampling may."""
        torch.rand(3)
        self.weights_seen.append(tuned(self.model))
        if isinstance(self.scores, list):
            return ValidationScore(self.scores[len(self.weights_seen) - 1], 0.25, 7)
        return ValidationScore(-abs(moved(self.weights_seen[-1]) - self.scores), 0.25, 7)


def fresh(name: str, features: list[Preference]) -> tuple[BaseModel, list[Preference]]:
    """Return the untrained model that a trainer is for, and its data."""
    return (TinyContinuousRandom(), features) if name in CONTINUOUS else (TinyRandom(), preferences())


def run(
    folder: Path, name: str, features: list[Preference], *, scores: list[float] | float,
    kill_at: int = 0, **options: Any,
) -> tuple[list[Mapping[str, float]], Looked]:
    """Train in `folder`; return the metrics of each step and what was validated."""
    model, data = fresh(name, features)
    validation = Looked(model, scores)
    trainer = TRAINERS[name]({"validate_every": EVERY, **options})
    return train(folder, trainer, model, data, kill_at=kill_at, validate=validation), validation


@pytest.mark.filterwarnings("ignore::silmm_plugins.training.lora.early_stopping.ValidationWarning")
@pytest.mark.parametrize("name", TRAINERS)
def test_the_series_is_in_the_metrics(tmp_path, features, name):
    """Every trainer scores the reference, the weights after each third step and the last; no other step."""
    scores = [0.5, 0.75, 0.25, -0.5]
    steps, validation = run(tmp_path, name, features, scores=scores)
    score_by_step = {row["step"]: row["validation_score"] for row in steps if "validation_score" in row}
    assert score_by_step == dict(zip((3, 6, 8), scores[1:], strict=True))
    last = steps[-1]
    assert (last["validation_error"], last["validation_prompts"]) == (0.25, 7.0)
    assert (last["validation_reference"], last["validation_best_step"]) == (0.5, 3.0)
    assert not any("validation" in metric for row in steps if row["step"] not in score_by_step for metric in row)
    assert not any(w.any() for n, w in validation.weights_seen[0].items() if "lora_B" in n)


@pytest.mark.parametrize("name", BOTH_KINDS)
def test_the_best_weights_are_written(tmp_path, features, name):
    """Adapter and model hold what was scored best, bit for bit; without keep_best the last weights."""
    for keep, expected in ((True, 1), (False, 3)):
        folder = tmp_path / str(keep)
        _, validation = run(folder, name, features, scores=[0.5, 0.75, 0.25, -0.5], keep_best=keep)
        written = load_file(folder / "adapter" / "adapter_model.safetensors")
        for key, value in validation.weights_seen[expected].items():
            assert torch.equal(written["base_model.model." + key.replace(".default", "")], value)
            assert torch.equal(tuned(validation.model)[key], value)
        assert not trained_alike(validation.weights_seen[1], validation.weights_seen[3])


def trained_alike(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    """Say whether two adapters are equal."""
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("name", BOTH_KINDS)
def test_patience_stops(tmp_path, features, name):
    """With patience 2 the training ends two validations after the best, and keeps that one."""
    scores = [0.0, 0.1, 0.5, 0.4, 0.3]
    steps, validation = run(tmp_path, name, features, scores=scores, validate_every=1, patience=2)
    assert [row["step"] for row in steps] == [1, 2, 3, 4]
    assert steps[-1]["validation_best_step"] == 2.0
    assert trained_alike(tuned(validation.model), validation.weights_seen[2])


def test_a_better_score_renews_the_patience(tmp_path, features):
    """Only validations since the best count."""
    scores = [0.0, -0.1, 0.1, 0.0, 0.2, 0.1, 0.3, 0.2, 0.4]
    steps, _ = run(tmp_path, "kc-dpo", features, scores=scores, validate_every=1, patience=2)
    assert len(steps) == 8


def test_nothing_above_the_reference_writes_the_reference(tmp_path, features):
    """Where every step made it worse, the adapter changes nothing and a warning says so."""
    with pytest.warns(ValidationWarning, match="the adapter that is written is the reference's"):
        steps, validation = run(tmp_path, "kc-dpo", features, scores=[0.5, 0.4, 0.3, 0.2])
    assert steps[-1]["validation_best_step"] == 0.0
    assert not any(w.any() for n, w in tuned(validation.model).items() if "lora_B" in n)


@pytest.mark.parametrize("name", BOTH_KINDS)
def test_a_score_that_sees_nothing_changes_nothing(tmp_path, features, name):
    """Equal scores, as of `random`, never stop: the bytes are those of a training without validation."""
    run(tmp_path / "constant", name, features, scores=[0.5] * 9, validate_every=1, patience=1)
    model, data = fresh(name, features)
    train(tmp_path / "off", TRAINERS[name]({}), model, data)
    assert weights(tmp_path / "constant") == weights(tmp_path / "off")


@pytest.mark.filterwarnings("ignore::silmm_plugins.training.lora.early_stopping.ValidationWarning")
@pytest.mark.parametrize("name", BOTH_KINDS)
@pytest.mark.parametrize("kill_at", [1, 3, 4, 6])
@pytest.mark.parametrize("patience", [0, 1])
def test_a_killed_training_ends_in_the_same_bytes(tmp_path, features, name, kill_at, patience):
    """Stopped after any step and called again: the same series, the same best weights, the same stop."""
    _, plain = run(tmp_path / "plain", name, features, scores=[0.0] * 5, validate_every=2)
    options = {"validate_every": 2, "patience": patience, "scores": moved(plain.weights_seen[2])}
    whole, validation = run(tmp_path / "whole", name, features, **options)
    assert whole[-1]["validation_best_step"] == 4.0
    assert len(whole) == (6 if patience else 8)
    with pytest.raises(KilledError):
        run(tmp_path / "killed", name, features, kill_at=kill_at, **options)
    rest, again = run(tmp_path / "killed", name, features, **options)
    assert rest == whole[-len(rest) :]
    assert len(again.weights_seen) < len(validation.weights_seen) or kill_at <= QUICK["checkpoint_every"]
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def test_killed_after_the_stop_before_the_adapter_is_written(tmp_path, features):
    """The stop is in the last checkpoint: no further step is done, and the best weights come from there."""
    options = {"scores": [0.0, 0.5, 0.25], "validate_every": 1, "patience": 1}
    whole, _ = run(tmp_path, "kc-dpo", features, **options)
    expected = weights(tmp_path)
    shutil.rmtree(tmp_path / "adapter")
    model, data = fresh("kc-dpo", features)
    trainer = CONTINUOUS["kc-dpo"]({"validate_every": 1, "patience": 1})
    steps: list[int] = []
    last = trainer.train(
        job(tmp_path, model, data, lambda step, metrics: steps.append(step), validate=Looked(model, []))
    )
    assert steps == []
    assert {"step": 2, **last} == whole[-1]
    assert weights(tmp_path) == expected


def test_validation_without_prompts_is_told(tmp_path, features):
    """Options that ask for validation where there is nothing to do it on give a warning, then all steps."""
    model, data = fresh("kc-dpo", features)
    with pytest.warns(ValidationWarning, match="no prompts to validate on"):
        steps = train(tmp_path, CONTINUOUS["kc-dpo"]({"validate_every": 1, "patience": 1}), model, data)
    assert len(steps) == 8


def test_without_validation_nothing_is_asked(tmp_path, features):
    """validate_every 0 calls nothing, and the checkpoint holds no second set of weights."""
    run(tmp_path, "kc-dpo", features, scores=[], validate_every=0, patience=1)
    [checkpoint] = (tmp_path / "work").glob("checkpoint-*")
    names = load_file(checkpoint / "state.safetensors")
    assert not [name for name in names if name.startswith("best/")]
    assert "series" not in (checkpoint / "position.json").read_text()


def test_a_score_that_is_not_finite_is_an_error(tmp_path, features):
    """It says after which step, and that the checkpoint is kept."""
    with pytest.raises(SilmmError, match="validation score after step 6 of 8 is not finite"):
        run(tmp_path, "kc-dpo", features, scores=[0.5, 0.5, math.nan])
    assert list((tmp_path / "work").glob("checkpoint-00000003"))
