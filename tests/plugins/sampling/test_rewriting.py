"""Promises of `rephrase` and `explain`: the model's own words, by the candidate's own seed, or counted."""

from __future__ import annotations

import numpy as np
import pytest
from silmm_plugins.sampling.rewriting import Rewrite, RewriteOptions

from silmm.contracts.models import SamplingParams
from silmm.engine import capabilities
from silmm.engine.settings_resolution import resolve_settings
from silmm.errors import UsageError
from silmm.registry.registry import Registry
from tests.toy.talker import Talker
from tests.toy.tiny_continuous_random import PROMPTS, TinyContinuousRandom


class Rewriter(Talker):
    """A discrete model that says another word for "red", by the request's seed."""

    def _rephrase(self, request):
        return request.input.replace("red", ("blue", "striped")[request.seed % 2])


def units(prompt, count=6):
    return [prompt] * count, list(range(100, 100 + count))


@pytest.mark.parametrize("task", ["rephrase", "explain"])
def test_a_continuous_model_samples_what_it_wrote(task):
    """H is that of the rewriting, each distinct text sampled once; alone or in company alike (promise 4)."""
    model = TinyContinuousRandom()
    sampler = Rewrite(task, RewriteOptions())
    prompts, seeds = [*PROMPTS[:1] * 6, PROMPTS[1]], [*range(20, 26), 9]
    sampled = sampler.sample(model, prompts, seeds)
    texts = model.chat(model.requests[:7])
    assert len(set(texts[:6])) > 1
    assert model.feature_calls[0] == len(set(texts))
    for text, item, prompt, seed in zip(texts, sampled, prompts, seeds, strict=True):
        h = item.latent
        assert item.meta == {"task": task, "sampled_prompt": text}
        np.testing.assert_allclose(h, model.represent([text], [0], SamplingParams())[0], atol=1e-4)
        (alone,) = Rewrite(task, RewriteOptions()).sample(model, [prompt], [seed])
        np.testing.assert_allclose(h, alone.latent, atol=1e-4)
    assert not sampler.dropped


def test_a_discrete_model_samples_tokens_of_what_it_wrote():
    """z is sampled from the rewriting with the candidate's seed and the options of nucleus sampling."""
    model = Rewriter()
    options = RewriteOptions(temperature=0.7, top_p=0.8, top_k=5)
    prompts, seeds = units("a red circle")
    sampled = Rewrite("rephrase", options).sample(model, prompts, seeds)
    texts = [model._rephrase(request) for request in model.requests]
    assert set(texts) == {"a blue circle", "a striped circle"}
    expected = model.represent(texts, seeds, SamplingParams(0.7, 0.8, 5))
    assert [item.latent.tolist() for item in sampled] == [z.tolist() for z in expected]


@pytest.mark.parametrize("task", ["rephrase", "explain"])
def test_each_request_carries_what_a_large_model_needs(task):
    """One batch of requests: task, instruction, examples, temperature, a seed of the candidate's own."""
    model = TinyContinuousRandom()
    prompts, seeds = units(PROMPTS[0], 4)
    Rewrite(task, RewriteOptions(rewrite_temperature=0.6, max_words=20)).sample(model, prompts, seeds)
    assert len(model.requests) == 4
    assert len({request.seed for request in model.requests}) == 4
    for request in model.requests:
        assert (request.task, request.input) == (task, PROMPTS[0])
        assert (request.temperature, request.max_words) == (0.6, 20)
        assert request.instruction
        assert len(request.examples) >= 3


@pytest.mark.parametrize(
    ("reply", "reason"),
    [("", "malformed rewriting"), ("a circle\na square", "malformed rewriting"),
     ("a red <eos> circle", "malformed rewriting"), ("a red zebra", "unreadable rewriting")],
)
def test_unusable_rewritings_leave_the_prompt_and_are_counted(reply, reason):
    """An empty, malformed or unreadable rewriting samples the prompt itself, one count a candidate."""

    class Mumbles(TinyContinuousRandom):
        def chat(self, requests):
            return [reply for _ in requests]

    model = Mumbles()
    sampler = Rewrite("explain", RewriteOptions())
    sampled = sampler.sample(model, *units(PROMPTS[0], 3))
    assert sampler.dropped == {reason: 3}
    (own,) = model.represent([PROMPTS[0]], [0], SamplingParams())
    assert all(np.array_equal(item.latent, own) for item in sampled)
    assert {item.meta["sampled_prompt"] for item in sampled} == {PROMPTS[0]}


@pytest.mark.parametrize("sampler", ["rephrase", "explain"])
def test_a_model_that_cannot_rewrite_is_refused_before_loading(sampler):
    """`--model tiny-discrete` declares no `rewrite`: an error that names what would work."""
    registry = Registry.load()
    settings = resolve_settings(registry, flags={"model": "tiny-discrete", "sampler": sampler})
    with pytest.raises(UsageError) as error:
        capabilities.check(registry, settings)
    assert "needs rewrite, which 'tiny-discrete' does not declare" in str(error.value)
    assert "With 'tiny-discrete' these work as sampler: nucleus." in str(error.value)


def test_a_discrete_model_takes_no_dropdiv():
    """`--sampler dropdiv --model tiny-discrete` fails before loading and names `nucleus`."""
    registry = Registry.load()
    settings = resolve_settings(registry, flags={"model": "tiny-discrete", "sampler": "dropdiv"})
    with pytest.raises(UsageError, match=r"works with continuous models .* as sampler: nucleus"):
        capabilities.check(registry, settings)
