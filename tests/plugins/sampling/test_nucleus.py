"""Promises of the nucleus sampler: the candidate is its seed's, and no filter is on unasked."""

from __future__ import annotations

import numpy as np
from silmm_plugins.sampling.nucleus import Nucleus, NucleusOptions

from tests.toy.tiny_random import LENGTH, PROMPTS, TinyRandom


def test_a_candidate_does_not_depend_on_its_neighbours() -> None:
    """One at a time or all at once, in any order: the same seed samples the same z."""
    sampler, model = Nucleus(NucleusOptions()), TinyRandom()
    seeds = list(range(6))

    def sample(seeds: list[int]) -> list[np.ndarray]:
        return [item.latent for item in sampler.sample(model, [PROMPTS[0]] * len(seeds), seeds)]

    together = sample(seeds)
    backwards = sample(seeds[::-1])[::-1]
    alone = [sample([seed])[0] for seed in seeds]
    for a, b, c in zip(together, backwards, alone, strict=True):
        assert np.array_equal(a, b)
        assert np.array_equal(a, c)
        assert (a.shape, a.dtype) == ((LENGTH,), np.int32)
    assert len({z.tobytes() for z in together}) > 1


def test_top_k_is_off_unless_asked() -> None:
    """The options reach the model as they are; a library's own top-k of 50 is not among them."""
    assert Nucleus(NucleusOptions()).sampling.top_k == 0
    sampling = Nucleus(NucleusOptions(temperature=0.7, top_p=0.5, top_k=3)).sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.7, 0.5, 3)


def test_candidates_tell_how_they_were_sampled() -> None:
    """The provenance of a candidate holds the sampling parameters."""
    (item,) = Nucleus(NucleusOptions(temperature=0.7)).sample(TinyRandom(), PROMPTS[:1], [3])
    assert item.meta == {"temperature": 0.7, "top_p": 0.9, "top_k": 0}
