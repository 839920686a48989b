"""Promises of on-policy training: honest ratios and reference, rollouts that survive a kill, no silent zeros."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from silmm_plugins.training.grpo import Grpo, GrpoOptions
from silmm_plugins.training.objectives.rollout_objective import RolloutWarning

from silmm.contracts.candidates import Candidate, Prompt
from silmm.contracts.models import BaseModel, SamplingParams
from silmm.errors import DataError, UsageError
from silmm.lora.adapters import load_peft_adapter
from silmm.seeds import derive
from tests.plugins.training.training_run import QUICK, KilledError, train, weights
from tests.toy.tiny_random import CODES, PROMPTS, TinyRandom

GRPO = {**QUICK, "prompts_per_step": 3, "images_per_prompt": 4, "updates_per_rollout": 3, "warn_kl": 1e9}
del GRPO["batch_size"]


class LowCodes:
    """Samples the policy; an image scores by the share of its codes in the lower half. Counts its calls."""

    prompts = tuple(Prompt(text, "") for text in PROMPTS)

    def __init__(self, model: BaseModel, unscored: int = 0) -> None:
        self.model = model
        self.unscored = unscored
        self.calls: list[int] = []

    def __call__(self, prompts: Sequence[Prompt], images_per_prompt: int, step: int) -> list[list[Candidate]]:
        self.calls.append(step)
        return [[self.candidate(prompt, n, step) for n in range(images_per_prompt)] for prompt in prompts]

    def candidate(self, prompt: Prompt, number: int, step: int) -> Candidate:
        seed = derive(0, prompt.text, number, step)
        (z,) = self.model.represent([prompt.text], [seed], SamplingParams())
        score = None if number < self.unscored else float(np.mean(z < CODES // 2))
        return Candidate(prompt, number, seed, 0, z, (), score=score)


def run(folder: Path, options: dict[str, Any] | None = None, *, unscored: int = 0, **rest: Any) -> list[Any]:
    """Train in `folder`; return the metrics of each step."""
    model = TinyRandom()
    rollout = LowCodes(model, unscored)
    return train(folder, Grpo(GrpoOptions(**{**GRPO, **(options or {})})), model, [], rollout=rollout, **rest)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_step_one_is_at_the_reference_and_on_policy(tmp_path: Path, precision: str) -> None:
    """Before the first update every ratio is 1 and the KL 0, exactly, in every precision."""
    first = run(tmp_path, {"precision": precision, "max_steps": 1, "warmup_steps": 0})[0]
    assert first["token_kl"] == 0.0
    assert first["loss"] == pytest.approx(0.0, abs=1e-6)  # advantages of a prompt add up to 0
    assert first["grad_norm"] > 0
    stored = load_file(tmp_path / "work" / "likelihoods-00000001.safetensors")
    assert stored["sampled"].equal(stored["reference"])


def test_the_reference_of_a_tuned_start_is_that_adapter(tmp_path: Path) -> None:
    """Iteration 2 starts at KL 0 from the adapter of iteration 1."""
    run(tmp_path / "one")
    second = run(tmp_path / "two", start=tmp_path / "one" / "adapter", seed=2)
    assert second[0]["token_kl"] == 0.0
    assert second[-1]["token_kl"] > 0.0


def test_training_raises_the_score(tmp_path: Path) -> None:
    """The policy's own images score higher at the end than at the start."""
    options = {"max_steps": 60, "learning_rate": 2e-2, "images_per_prompt": 8, "updates_per_rollout": 1}
    scores = [step["score"] for step in run(tmp_path, {**options, "kl_weight": 0.0})]
    assert np.mean(scores[-10:]) > np.mean(scores[:10]) + 0.1


@pytest.mark.parametrize("kill_at", [1, 2, 4, 5, 8])
def test_a_killed_training_ends_in_the_same_bytes(tmp_path: Path, kill_at: int) -> None:
    """Stopped at any step of a rollout and called again, adapter and metrics are the same."""
    whole = run(tmp_path / "whole")
    with pytest.raises(KilledError):
        run(tmp_path / "killed", kill_at=kill_at)
    rest = run(tmp_path / "killed")
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert rest == whole[-len(rest) :]


def test_a_rollout_is_used_as_often_as_asked(tmp_path: Path) -> None:
    """Eight steps of three updates each take rollouts at steps 1, 4 and 7."""
    model = TinyRandom()
    rollout = LowCodes(model)
    steps = train(tmp_path, Grpo(GrpoOptions(**GRPO)), model, [], rollout=rollout)
    assert rollout.calls == [1, 4, 7]
    assert [step["images"] for step in steps] == [12.0] * 8


def test_old_likelihoods_are_deleted(tmp_path: Path) -> None:
    """What no checkpoint leads back to is not kept."""
    run(tmp_path, {"max_steps": 20, "updates_per_rollout": 2})
    names = sorted(path.name for path in (tmp_path / "work").glob("likelihoods-*"))
    assert names[-1] == "likelihoods-00000019.safetensors"
    assert len(names) <= 4


def test_a_damaged_rollout_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Killed in the middle of a rollout whose likelihoods are gone: the training does not go on from others."""
    with pytest.raises(KilledError):
        run(tmp_path, {"checkpoint_every": 1}, kill_at=6)
    (tmp_path / "work" / "likelihoods-00000004.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match="likelihoods-00000004"):
        run(tmp_path, {"checkpoint_every": 1})


def test_images_without_a_score_do_not_count(tmp_path: Path) -> None:
    """They are left out of the mean, and a step in which nothing can be compared is an error."""
    assert [step["images"] for step in run(tmp_path / "two", unscored=2)] == [6.0] * 8
    with pytest.raises(DataError, match="two images with a score"):
        run(tmp_path / "three", unscored=3)


def test_a_far_policy_warns(tmp_path: Path) -> None:
    """A KL above `warn_kl` is said aloud once."""
    with pytest.warns(RolloutWarning, match=r"trainer\.warn_kl=1e-06") as caught:
        run(tmp_path, {"warn_kl": 1e-6})
    assert len(caught) == 1


def test_without_prompts_to_sample_it_is_refused(tmp_path: Path) -> None:
    """A run on its user's pairs has no rollout: the error says what to do."""
    model = TinyRandom()
    for rollout in (None, replace_prompts(LowCodes(model))):
        with pytest.raises(UsageError, match="leave --pairs out"):
            train(tmp_path, Grpo(GrpoOptions(**GRPO)), model, [], rollout=rollout)


def replace_prompts(rollout: LowCodes) -> LowCodes:
    """Return the rollout with no prompts."""
    rollout.prompts = ()
    return rollout


def test_the_written_adapter_is_the_policy(tmp_path: Path) -> None:
    """After measuring the reference the policy's own weights are back: the adapter differs from the start."""
    run(tmp_path)
    model = TinyRandom()
    load_peft_adapter(model, tmp_path / "adapter")
    assert any(p.any() for name, p in model.backbone.named_parameters() if "lora_B" in name)
