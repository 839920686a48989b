"""The kit's checks of samplers, scorers, pair rules, kernels and trainers: silmm's own pass."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from silmm import testing as kit
from silmm.contracts.candidates import Candidate, Prompt
from silmm.contracts.models import Preference, SamplingParams
from silmm.registry.registry import Registry
from silmm.testing import Nonconformance
from tests.conformance.small_models import CASES, continuous, discrete

REGISTRY = Registry.load({"SILMM_LOAD_PLUGINS": "silmm"})


def names(kind):
    return [entry.name for entry in REGISTRY.entries(kind)]


@pytest.mark.parametrize("name", names("scorer"))
def test_the_papers_scorers_keep_the_contract(name):
    """Scores are finite, repeatable, and refused where there are no answers."""
    kit.check_scorer(REGISTRY.build("scorer", name, {}))


@pytest.mark.parametrize("name", names("pair-rule"))
def test_the_papers_pair_rule_keeps_the_contract(name):
    """Pairs name two candidates that have a score."""
    kit.check_pair_rule(REGISTRY.build("pair-rule", name, {}))


@pytest.mark.parametrize("name", names("aggregation"))
def test_the_papers_aggregations_keep_the_contract(name):
    """Each matrix is pooled by itself, in float32, differentiably."""
    kit.check_aggregation(REGISTRY.build("aggregation", name, {}))


@pytest.mark.parametrize("name", names("distance"))
def test_the_papers_distances_keep_the_contract(name):
    """0 at equality, above 0 elsewhere, symmetric, broadcast, with finite gradients."""
    kit.check_distance(REGISTRY.build("distance", name, {}))


@pytest.mark.parametrize(
    ("name", "make"), [("nucleus", discrete), ("dropdiv", continuous), ("noisy-dreamemb", continuous)]
)
def test_the_papers_samplers_keep_the_contract(name, make):
    """A candidate is its prompt's and its seed's, in any company."""
    kit.check_sampler(REGISTRY.build("sampler", name, {}), make(), CASES)


def preferences(model):
    """Return two candidates of each prompt, the first one chosen."""
    found = []
    for prompt in CASES.prompts:
        latents = model.represent([prompt] * 2, [0, 1], SamplingParams())
        if model.kind == "continuous":
            latents = [latents[0] + 0.1, latents[1] - 0.1]
        found.append(Preference(prompt, latents, ((0, 1),)))
    return found


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
    """Killed and called again, the training writes the bytes of the whole one."""
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
    """Samples a candidate from its place in the batch."""

    def sample(self, model, prompts, seeds):
        return model.represent(prompts, list(range(len(seeds))), SamplingParams())


@pytest.mark.parametrize(("broken", "message"), [(Copies, "nothing to prefer"), (ByPosition, "is the same")])
def test_a_broken_sampler_is_found(broken, message):
    """Seeds without effect, and candidates that depend on their company, are named."""
    with pytest.raises(Nonconformance, match=message):
        kit.check_sampler(broken(), discrete(), CASES)


class Zero:
    """Scores everything, answers or not."""

    def score(self, p_yes_no, seed):
        return 0.0


class Chance:
    """Scores by chance."""

    def score(self, p_yes_no, seed):
        return random.random()


class Mean:
    """Scores by a logarithm."""

    def score(self, p_yes_no, seed):
        return float(np.log(p_yes_no[:, 0]).mean())


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize(
    ("broken", "message"), [(Zero, "no set of answers"), (Chance, "random state"), (Mean, "gave -inf")]
)
def test_a_broken_scorer_is_found(broken, message):
    """A score of nothing, of chance, or without bounds is named."""
    with pytest.raises(Nonconformance, match=message):
        kit.check_scorer(broken())


class FirstAndLast:
    """Pairs by position."""

    def pairs(self, scores):
        return [(0, len(scores) - 1)]


class Never:
    """Finds no pair."""

    def pairs(self, scores):
        return []


class SortedBlindly:
    """Takes NaN for a score."""

    def pairs(self, scores):
        order = np.argsort(scores)
        return [(int(order[-1]), int(order[0]))] if len(order) > 1 else []


@pytest.mark.parametrize(
    ("broken", "message"),
    [(FirstAndLast, "has one without"), (Never, "give no pair"), (SortedBlindly, "has one without")],
)
def test_a_broken_pair_rule_is_found(broken, message):
    """A candidate without a score, one paired with itself, and no pairs at all are named."""
    with pytest.raises(Nonconformance, match=message):
        kit.check_pair_rule(broken())


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
    """Each property that trainers rely on is missed where it is missing."""
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
    """A lost dimension, a mean over other matrices, a cut gradient and another precision are named."""
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
    """Puts the model in training mode, where its dropout wakes up."""

    def train(self, job):
        job.model.backbone.train()
        job.observe(1, {"loss": 1.0})


def test_a_trainer_in_training_mode_is_found(tmp_path):
    """Dropout while training would tell policy and reference apart."""
    model = discrete()
    with pytest.raises(Nonconformance, match=r"step 1: .* is in training mode"):
        kit.check_trainer(Awake, model, preferences(model), tmp_path)


def test_a_trainer_that_forgets_is_found(tmp_path):
    """Other bytes after a kill are named."""
    model = discrete()
    with pytest.raises(Nonconformance, match="other bytes"):
        kit.check_trainer(Forgetful, model, preferences(model), tmp_path)
