"""A sampler that samples each candidate at a temperature of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from silmm import BaseModel, Sampled, SamplingParams


class Spread:
    """Temperatures spread evenly between two bounds, each from the candidate's seed."""

    def __init__(self, low: float, high: float) -> None:
        """Keep the bounds."""
        self.low, self.high = low, high

    def sample(self, model: BaseModel, prompts: Sequence[str], seeds: Sequence[int]) -> list[Sampled]:
        """Sample one z per (prompt, seed); the other candidates of the batch change nothing."""
        sampled = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            temperature = self._temperature(seed)
            (z,) = model.represent([prompt], [seed], SamplingParams(temperature))
            sampled.append(Sampled(z, {"temperature": temperature}))
        return sampled

    def _temperature(self, seed: int) -> float:
        return self.low + (self.high - self.low) * float(np.random.default_rng(seed).random())
