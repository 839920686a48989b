"""Rollouts: the policy as it stands is sampled, asked and scored once per step, and a resumed run reads the tables."""

from __future__ import annotations

import importlib
import signal
import threading
from functools import partial
from itertools import chain

import numpy as np
import pytest

from silmm.engine import rollout as rollout_module
from silmm.engine.rollout import PolicyRollout
from silmm.engine.stages.seed_scope import SeedScope
from silmm.engine.validation import trainer_input
from silmm.engine.workers.run_components import Components
from silmm.errors import PluginError, UsageError
from silmm.seeds import derive
from silmm.storage.paths import RunFolder
from silmm.storage.shards import Shards
from tests.toy import artefacts


@pytest.fixture
def on_policy(toy_settings):
    """Return a maker of settings for a toy run whose trainer needs rollouts."""
    return partial(toy_settings, trainer="toy-rollout")


@pytest.fixture
def sampled(toy_registry, monkeypatch):
    """Collect the seeds of everything that the toy models sample."""
    toy = importlib.import_module("silmm_toy")
    seeds = []
    for model in (toy.ToyModel, toy.ToyContinuous):
        real = model.represent
        monkeypatch.setattr(
            model, "represent",
            lambda self, prompts, s, sampling, real=real: seeds.extend(s) or real(self, prompts, s, sampling),
        )
    return seeds


@pytest.fixture
def roll(run_toy, tmp_path, toy_registry):
    """Return a maker of the rollout of a run that has its pairs."""

    def make(settings):
        run_toy(tmp_path / "run", settings, until="features" if settings.model == "toy-continuous" else "pairs")
        folder = RunFolder(tmp_path / "run", settings.shard_size).iteration(1)
        components = Components(settings, toy_registry, settings.identity())
        components.model(None)
        return trainer_input(settings, components, folder, SeedScope(settings.seed, 1)).rollout

    return make


def test_candidates_are_the_policys_own_scored_by_the_runs_scorer(roll, on_policy, toy_registry):
    """Each has its questions, answers and score; other weights sample other candidates from the same seeds."""
    rollout = roll(on_policy())
    assert [prompt.category for prompt in rollout.prompts] == ["toy"] * 7
    groups = rollout(rollout.prompts[:4], 3, step=1)
    assert [[candidate.index for candidate in group] for group in groups] == [[0, 1, 2]] * 4
    for group, prompt in zip(groups, rollout.prompts, strict=False):
        for candidate in group:
            assert candidate.prompt == prompt
            assert [question.text for question in candidate.questions] == [
                f"is there {prompt.text}?", f"is {prompt.text} whole?",
            ]
            answers = candidate.answers[0]
            assert candidate.score == pytest.approx(np.mean(answers[:, 0] - answers[:, 1]))
            assert candidate.images[0].shape == (4, 6, 3)
    rollout.components.get("model").bias = np.linspace(-3, 3, 8)
    moved = rollout(rollout.prompts[:4], 3, step=2)
    assert np.mean([c.latent.mean() for g in moved for c in g]) > np.mean([c.latent.mean() for g in groups for c in g])


def test_seeds_depend_on_run_iteration_step_prompt_and_index(roll, on_policy):
    """No two steps share a seed, and none is that of stage `sample`."""
    rollout = roll(on_policy())
    prompt = rollout.prompts[2]
    ((first,),) = rollout([prompt], 1, step=5)
    assert first.seed == derive(0, "iteration", 1, "rollout", 5, "sample", prompt.text, 0)
    assert first.score_seed == derive(0, "iteration", 1, "rollout", 5, "score", prompt.text, 0)
    ((other,),) = rollout([prompt], 1, step=6)
    assert other.seed != first.seed != derive(0, "iteration", 1, "sample", prompt.text, 0)


@pytest.mark.parametrize("model", [{}, {"model": "toy-continuous", "sampler": "toy-noise"}])
def test_a_step_that_is_called_again_gives_what_is_stored(roll, on_policy, sampled, model):
    """Nothing is sampled again, whatever the policy is by now; latents and scores are those of the tables."""
    rollout = roll(on_policy(**model))
    first = rollout(rollout.prompts, 2, step=1)
    assert sorted(path.name for path in (rollout.folder.work / "rollout-1").iterdir()) == [
        "answers", "candidates", *(["features"] if model else []), "prompts", "scores",
    ]
    sampled.clear()
    rollout.components.get("model").bias = np.ones(8)
    again = rollout(rollout.prompts, 2, step=1)
    assert sampled == []
    for candidate, other in zip(chain(*first), chain(*again), strict=True):
        assert (candidate.seed, candidate.score) == (other.seed, other.score)
        assert candidate.latent.shape == ((3, 8) if model else (6,))
        assert np.array_equal(candidate.latent, other.latent)
        assert np.array_equal(candidate.answers, other.answers)
    with pytest.raises(PluginError, match="asked step 1 for other prompts or images"):
        rollout(rollout.prompts[:2], 2, step=1)
    with pytest.raises(PluginError, match="asked step 1 for other prompts or images"):
        rollout(rollout.prompts, 3, step=1)


def test_a_rollout_that_was_cut_short_makes_what_is_missing(roll, on_policy, monkeypatch):
    """A shard that is committed stays; only the others are sampled."""
    rollout = roll(on_policy())
    rollout(rollout.prompts, 2, step=1)
    whole = artefacts.hashes(rollout.folder.work)
    table = Shards(rollout.folder.work / "rollout-1" / "scores", 3)
    table.record_path(1).unlink()
    made = []
    real = rollout_module.sample_and_score
    monkeypatch.setattr(
        rollout_module, "sample_and_score",
        lambda components, prompts, *rest, **named: made.append(len(prompts))
        or real(components, prompts, *rest, **named),
    )
    rollout(rollout.prompts, 2, step=1)
    assert made == [3]
    assert artefacts.hashes(rollout.folder.work) == whole


def test_only_the_prompts_of_the_training_are_rolled_out(roll, on_policy):
    """Another prompt has no questions of this run and is refused by its text."""
    rollout = roll(on_policy())
    stranger = type(rollout.prompts[0])("a stranger", "x")
    with pytest.raises(PluginError, match="'a stranger', which is none of the 7 prompts"):
        rollout([stranger], 2, step=1)


def test_another_process_of_the_launcher_waits_for_the_tables(roll, on_policy, monkeypatch):
    """It writes nothing and reads what the first process committed."""
    rollout = roll(on_policy())
    follower = PolicyRollout(
        rollout.components, rollout.folder, rollout.scope, rollout.prompts, rollout.questions, rollout.decodes,
        owns_tables=False,
    )
    monkeypatch.setattr(rollout_module, "PAUSE", 0.01)
    groups = []
    thread = threading.Thread(target=lambda: groups.extend(follower(rollout.prompts[:2], 2, 1)), daemon=True)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    assert not (rollout.folder.work / "rollout-1").exists()
    led = rollout(rollout.prompts[:2], 2, step=1)
    thread.join(30)
    assert [[c.score for c in group] for group in groups] == [[c.score for c in group] for group in led]


def test_a_scorer_that_needs_no_answers_rolls_out_without_questions(roll, on_policy):
    """The brightness of the images is the reward, and nobody is asked anything."""
    rollout = roll(on_policy(scorer="toy-reward"))
    assert rollout.questions is None
    ((candidate,),) = rollout(rollout.prompts[:1], 1, step=1)
    assert candidate.score == candidate.images[0].mean()
    assert (candidate.questions, candidate.answers) == ((), None)


def test_an_on_policy_run_survives_kills(run_toy, tmp_path, on_policy):
    """Killed in the training and resumed, the run equals a whole one, rollouts included."""
    run_toy(tmp_path / "whole", on_policy())
    assert len(list((tmp_path / "whole/iter-1/train").glob("rollout-*"))) == 6

    class Killer:
        def silmm_train_step(self, run, iteration, step, metrics):
            if step == 4:
                artefacts.die()

    run_dir = tmp_path / "run"
    code = artefacts.exit_code(partial(run_toy, run_dir, on_policy(), observers=[Killer()]))
    assert code == -signal.SIGKILL
    run_toy(run_dir, on_policy())
    assert artefacts.hashes(run_dir) == artefacts.hashes(tmp_path / "whole")


def test_trainers_that_need_no_rollout_get_none(roll, toy_settings):
    """A trainer that did not declare it finds no rollout in its job."""
    assert roll(toy_settings()) is None


def test_rollouts_and_own_pairs_exclude_each_other(run_toy, tmp_path, on_policy):
    """`--pairs` brings no prompts with questions: refused before anything loads, with the trainers that work."""
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"prompt": "a", "chosen_z": [1], "rejected_z": [2]}\n')
    with pytest.raises(UsageError, match=r"--trainer toy-rollout cannot work with --pairs.*: toy, toy-validating"):
        run_toy(tmp_path / "run", on_policy(pairs=str(pairs)))
    assert not (tmp_path / "run").exists()
