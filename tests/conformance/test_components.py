"""silmm's own samplers, scorers, pair rules, kernels and trainers pass the kit's checks."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from silmm import testing as kit
from silmm.contracts.candidates import Candidate, Pair, Prompt
from silmm.contracts.models import Preference, SamplingParams
from silmm.registry.registry import Registry
from silmm.testing import Nonconformance
from tests.conformance.small_models import CASES, continuous, discrete

REGISTRY = Registry.load({"SILMM_LOAD_PLUGINS": "silmm"})


def names(kind):
    return [entry.name for entry in REGISTRY.entries(kind)]


@pytest.mark.parametrize("name", [name for name in names("scorer") if name != "reward-model"])
def test_our_scorers_keep_the_contract(name):
    """Scores are finite, repeatable, in any order of the group, from what the scorer declares."""
    kit.check_scorer(REGISTRY.build("scorer", name, {}), REGISTRY.entry("scorer", name).needs)


@pytest.mark.parametrize("name", names("pair-rule"))
def test_our_pair_rules_keep_the_contract(name):
    """Pairs name two candidates that have a score, the chosen above the rejected."""
    kit.check_pair_rule(REGISTRY.build("pair-rule", name, {}), REGISTRY.entry("pair-rule", name).needs)


@pytest.mark.parametrize("name", names("aggregation"))
def test_the_papers_aggregations_keep_the_contract(name):
    """The paper's aggregations pool each matrix by itself, in float32 and differentiably."""
    kit.check_aggregation(REGISTRY.build("aggregation", name, {}))


@pytest.mark.parametrize("name", names("distance"))
def test_the_papers_distances_keep_the_contract(name):
    """The paper's distances are 0 only at equality, symmetric, broadcast and have finite gradients."""
    kit.check_distance(REGISTRY.build("distance", name, {}))


@pytest.mark.parametrize(
    ("name", "make"), [("nucleus", discrete), ("dropdiv", continuous), ("noisy-dreamemb", continuous)]
)
def test_the_papers_samplers_keep_the_contract(name, make):
    """A candidate depends on its prompt and its seed only, whatever else is in the batch."""
    kit.check_sampler(REGISTRY.build("sampler", name, {}), make(), CASES)


def preferences(model):
    """Return two candidates of each prompt, the first one chosen."""
    pairs_of_latents = []
    for prompt in CASES.prompts:
        latents = model.represent([prompt] * 2, [0, 1], SamplingParams())
        if model.kind == "continuous":
            latents = [latents[0] + 0.1, latents[1] - 0.1]
        pairs_of_latents.append(Preference(prompt, latents, ((0, 1),)))
    return pairs_of_latents


class Rollout:
    """Samples from the model as it stands; an image scores by its first code."""

    prompts = tuple(Prompt(text, "") for text in CASES.prompts)

    def __init__(self, model):
        self.model = model

    def __call__(self, prompts, images_per_prompt, step):
        groups = []
        for prompt in prompts:
            seeds = [1000 * step + n for n in range(images_per_prompt)]
            latents = self.model.represent([prompt.text] * len(seeds), seeds, SamplingParams())
            groups.append([
                Candidate(prompt, n, seeds[n], 0, z, (), score=float(z[0])) for n, z in enumerate(latents)
            ])
        return groups


@pytest.mark.parametrize("name", names("trainer"))
def test_the_built_in_trainers_keep_the_contract(name, tmp_path):
    """A built-in trainer that is killed and called again writes the bytes of an uninterrupted training."""
    entry = REGISTRY.entry("trainer", name)
    model = discrete() if "discrete" in entry.kinds else continuous()
    options = {"max_steps": 4, "warmup_steps": 1, "gradient_accumulation_steps": 1, "checkpoint_every": 1}
    options |= {"updates_per_rollout": 3, "images_per_prompt": 3} if "rollout" in entry.needs else {"batch_size": 2}
    metrics = kit.check_trainer(
        lambda: REGISTRY.build("trainer", name, options), model, preferences(model), tmp_path,
        rollout=Rollout(model) if "rollout" in entry.needs else None,
    )
    assert np.isfinite(metrics["loss"])


class Copies:
    """Samples every candidate from one seed."""

    def sample(self, model, prompts, seeds):
        return model.represent(prompts, [3] * len(seeds), SamplingParams())


class ByPosition:
    """Samples a candidate from its position in the batch."""

    def sample(self, model, prompts, seeds):
        return model.represent(prompts, list(range(len(seeds))), SamplingParams())


@pytest.mark.parametrize(("broken", "message"), [(Copies, "nothing to prefer"), (ByPosition, "is the same")])
def test_a_broken_sampler_is_found(broken, message):
    """A sampler whose seeds have no effect, or whose candidates depend on the batch, fails the check."""
    with pytest.raises(Nonconformance, match=message):
        kit.check_sampler(broken(), discrete(), CASES)


def scorer(score):
    """Return a scorer whose score of a group is a function of it."""
    return SimpleNamespace(score=lambda candidates, judge: score(candidates))


def worn_out(candidates):
    candidates[0].answers[0, 0, 0] = 0.5
    return [0.0] * len(candidates)


SCORERS = {
    "1 scores for 5": lambda candidates: [0.0],
    "random state": lambda candidates: [random.random() for _ in candidates],
    "inf for candidate": lambda candidates: [-math.inf for _ in candidates],
    "'0.5' for candidate": lambda candidates: ["0.5" for _ in candidates],
    "in another order": lambda candidates: [float(index) for index, _ in enumerate(candidates)],
    "no candidate has a score": lambda candidates: [None for _ in candidates],
    "writes into": worn_out,
    "images are used without being declared": lambda candidates: [float(c.images[0].mean()) for c in candidates],
}


@pytest.mark.parametrize("message", SCORERS)
def test_a_broken_scorer_is_found(message):
    """A scorer that is random, depends on order, changes its input or returns wrong scores fails the check."""
    with pytest.raises(Nonconformance, match=message):
        kit.check_scorer(scorer(SCORERS[message]))


def test_a_scorer_may_leave_candidates_out():
    """None is the score of a candidate that has none, and a scorer may go by the group."""

    def advantage(candidates):
        means = [float(np.mean(candidate.answers[..., 0])) for candidate in candidates]
        return [None if mean == min(means) < max(means) else mean - max(means) for mean in means]

    kit.check_scorer(scorer(advantage))


def rule(pairs):
    """Return a pair rule whose pairs are a function of the candidates' scores."""
    return SimpleNamespace(pairs=lambda candidates: pairs([candidate.score for candidate in candidates]))


def upside_down(scores):
    order = sorted((score, index) for index, score in enumerate(scores) if score is not None)
    return [Pair(order[0][1], order[-1][1])] if len(order) > 1 else []


PAIR_RULES = {
    "a candidate without a score": lambda scores: [Pair(0, 1)] if None in scores else [],
    "not preferred to itself": lambda scores: [Pair(0, 0)] if None not in scores else [],
    "the indices go from 0": lambda scores: [Pair(0, -1)] if None not in scores else [],
    "no silmm.contracts.candidates.Pair": lambda scores: [(0, 1)],
    "the weight is": lambda scores: [Pair(0, 1, 0.0)] if len(scores) == 32 else [],
    "twice": lambda scores: [Pair(0, 1)] * 2 if len(scores) == 32 else [],
    "the lower score": upside_down,
    "give no pair": lambda scores: [],
    "are indices": lambda scores: [Pair(0.5, 1)],
    "ZeroDivisionError": lambda scores: 1 / 0,
}


@pytest.mark.parametrize("message", PAIR_RULES)
def test_a_broken_pair_rule_is_found(message):
    """A pair rule that pairs wrong or unscored candidates, in the wrong order, or none fails the check."""
    with pytest.raises(Nonconformance, match=message):
        kit.check_pair_rule(rule(PAIR_RULES[message]))


DISTANCES = {
    "above 0": lambda a, b: (a - b).sum((-2, -1)),
    "symmetric": lambda a, b: ((a - b).square() * a.abs()).sum((-2, -1)),
    "0 at equality": lambda a, b: (a - b).square().sum((-2, -1)) + 1,
    "gradient at equality": lambda a, b: (a - b).square().sum((-2, -1)).sqrt(),
    "not differentiable": lambda a, b: (a - b).square().sum((-2, -1)).detach(),
    "float32": lambda a, b: (a - b).square().sum((-2, -1)).double(),
}


@pytest.mark.parametrize("message", DISTANCES)
def test_a_broken_distance_is_found(message):
    """A distance without one of the properties that trainers rely on fails the check."""
    with pytest.raises(Nonconformance, match=message):
        kit.check_distance(DISTANCES[message])


AGGREGATIONS = {
    "becomes": lambda features: features.mean(-2),
    "pooled by itself": lambda features: features.mean(-2, keepdim=True) - features.mean(),
    "not differentiable": lambda features: features.detach().mean(-2, keepdim=True),
    "float32 becomes": lambda features: features.double(),
}


@pytest.mark.parametrize("message", AGGREGATIONS)
def test_a_broken_aggregation_is_found(message):
    """An aggregation that mixes matrices, cuts the gradient or changes precision fails the check."""
    with pytest.raises(Nonconformance, match=message):
        kit.check_aggregation(AGGREGATIONS[message])


class Forgetful:
    """Trains on from nothing after a kill, and writes how often it was called."""

    calls = 0

    def train(self, job):
        Forgetful.calls += 1
        for step in range(1, 5):
            job.observe(step, {"loss": 1.0})
        sound = REGISTRY.build("trainer", "dpo", {"max_steps": Forgetful.calls, "warmup_steps": 0, "batch_size": 2})
        return sound.train(replace(job, observe=lambda *a: None))


class Awake:
    """Puts the model in training mode, where its dropout is active."""

    def train(self, job):
        job.model.backbone.train()
        job.observe(1, {"loss": 1.0})


def test_a_trainer_in_training_mode_is_found(tmp_path):
    """A trainer that leaves dropout on, so that policy and reference differ, fails the check."""
    model = discrete()
    with pytest.raises(Nonconformance, match=r"step 1: .* is in training mode"):
        kit.check_trainer(Awake, model, preferences(model), tmp_path)


def test_a_trainer_that_forgets_is_found(tmp_path):
    """A trainer that writes other bytes after a kill fails the check."""
    model = discrete()
    with pytest.raises(Nonconformance, match="other bytes"):
        kit.check_trainer(Forgetful, model, preferences(model), tmp_path)
