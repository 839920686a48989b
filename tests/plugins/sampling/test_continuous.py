"""Promises of `dropdiv` and `noisy-dreamemb`: a candidate is its seed's, and without noise it is H itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from silmm_plugins.sampling.continuous import DropDiv, DropDivOptions, NoisyDreamEmb, NoisyDreamEmbOptions

from silmm.contracts.models import SamplingParams
from silmm.errors import UsageError
from tests.toy.tiny_continuous_random import HIDDEN, PROMPTS, QUERIES, TinyContinuousRandom

SAMPLERS = {
    "dropdiv": lambda **options: DropDiv(DropDivOptions(**options)),
    "noisy-dreamemb": lambda **options: NoisyDreamEmb(NoisyDreamEmbOptions(**options)),
}
UNITS = [(prompt, seed) for prompt in PROMPTS for seed in (11, 2**62 + 5, 7)]


@pytest.fixture(scope="module")
def model() -> TinyContinuousRandom:
    return TinyContinuousRandom()


def sample(sampler, model, units):
    sampled = sampler.sample(model, [prompt for prompt, _ in units], [seed for _, seed in units])
    return [item.latent for item in sampled]


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_a_candidate_does_not_depend_on_its_batch(model, name, batch_size):
    """Alone, in batches of any size and in any order, with any padding: the same H (promise 4)."""
    sampler = SAMPLERS[name](batch_size=batch_size)
    together = sample(sampler, model, UNITS)
    backwards = sample(sampler, model, UNITS[::-1])[::-1]
    for unit, a, b in zip(UNITS, together, backwards, strict=True):
        (alone,) = sample(SAMPLERS[name](), model, [unit])
        assert (a.shape, a.dtype) == ((QUERIES, HIDDEN), np.float32)
        np.testing.assert_allclose(a, alone, atol=1e-4)
        np.testing.assert_allclose(b, alone, atol=1e-4)


@pytest.mark.parametrize("name", SAMPLERS)
def test_sampled_again_it_is_equal(model, name):
    """The same units in the same company give the same bytes again, with nothing left on the model."""
    sampler, plain = SAMPLERS[name](), model.features(PROMPTS)
    first, second = sample(sampler, model, UNITS), sample(SAMPLERS[name](), model, UNITS)
    assert [h.tobytes() for h in first] == [h.tobytes() for h in second]
    assert torch.equal(model.features(PROMPTS), plain)


@pytest.mark.parametrize("name", SAMPLERS)
def test_candidates_of_a_prompt_differ(model, name):
    """Other seeds give clearly other H of one prompt."""
    sampled = sample(SAMPLERS[name](), model, UNITS[:3])
    assert min(np.abs(sampled[a] - sampled[b]).max() for a, b in ((0, 1), (0, 2), (1, 2))) > 0.05


@pytest.mark.parametrize(("name", "none"), [("dropdiv", {"rate": 0.0}), ("noisy-dreamemb", {"scale": 0.0})])
def test_without_noise_every_candidate_is_the_models_own(model, name, none):
    """Rate 0 and scale 0 give the H that the model gives by itself."""
    sampled = sample(SAMPLERS[name](**none), model, [(prompt, 3) for prompt in PROMPTS])
    for item, own in zip(sampled, model.represent(PROMPTS, [0] * 4, SamplingParams()), strict=True):
        assert np.array_equal(item, own)


@pytest.mark.parametrize(
    "options",
    [{"layers": "last:1"}, {"layers": "first-half"}, {"layers": "all"}, {"site": "mlp_inner"},
     {"positions": "all", "layers": "all"}, {"rate": 0.6}],
)
def test_each_option_of_dropdiv_matters(model, options):
    """Layers, site, positions and rate reach the dropout: each gives other H than the defaults."""
    # behind the last layer but one nothing reads the prompt's positions: the default layers could not show it
    defaults = {"layers": "all"} if "positions" in options else {}
    usual = sample(SAMPLERS["dropdiv"](**defaults), model, UNITS[:2])
    other = sample(SAMPLERS["dropdiv"](**options), model, UNITS[:2])
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(usual, other, strict=True))


def test_noise_is_relative_to_the_embeddings(model):
    """The offsets have the standard deviation `scale` times that of the query embeddings, and mean 0."""
    calls = []
    real = model.features

    class Watching:
        query_embeddings = staticmethod(model.query_embeddings)

        @staticmethod
        def features(prompts, query_offsets):
            calls.append(query_offsets)
            return real(prompts, query_offsets)

    sample(SAMPLERS["noisy-dreamemb"](scale=0.5), Watching(), [(PROMPTS[0], seed) for seed in range(200)])
    offsets = torch.cat(calls)
    expected = 0.5 * float(model.query_embeddings().std())
    assert float(offsets.std()) == pytest.approx(expected, rel=0.03)
    assert abs(float(offsets.mean())) < 0.03 * expected


def test_a_prompt_with_more_layers_than_there_are_is_refused(model):
    """`last:N` beyond the model's layers says how many there are."""
    with pytest.raises(UsageError, match="4 MLP blocks"):
        sample(SAMPLERS["dropdiv"](layers="last:9"), model, UNITS[:1])


def test_candidates_tell_what_made_them(model):
    """The provenance holds the options that decide a candidate, and not the batch size."""
    (dropped,) = SAMPLERS["dropdiv"](rate=0.25).sample(model, PROMPTS[:1], [1])
    assert dropped.meta == {
        "rate": 0.25, "layers": "last:2", "site": "mlp_out", "positions": "queries", "mask": "position",
    }
    (noisy,) = SAMPLERS["noisy-dreamemb"](scale=0.5).sample(model, PROMPTS[:1], [1])
    assert noisy.meta == {"scale": 0.5}


@pytest.mark.parametrize("name", SAMPLERS)
def test_nothing_to_sample_is_nothing(model, name):
    """No prompts give no candidates."""
    assert SAMPLERS[name]().sample(model, [], []) == []
