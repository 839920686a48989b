"""Preferences of the tiny continuous model: features that it sampled itself under dropout, with pairs."""

from __future__ import annotations

import numpy as np
import torch
from silmm_plugins.models._shared.mlp_dropout import MlpDropoutOptions, mlp_dropout

from silmm.contracts.models import Preference
from tests.toy.tiny_continuous_random import PROMPTS, QUERIES, TinyContinuousRandom

NOUNS = ("circle", "square", "striped circle", "small square")


def prompts(count: int) -> list[str]:
    """Return distinct prompts of different lengths."""
    long = [f"a {first} and a {second}" for first in NOUNS for second in NOUNS]
    return [*PROMPTS, *long][:count]


def feature_preferences(count: int = 8, k: int = 2, seed: int = 0) -> list[Preference]:
    """Return top-k × last-k preferences; a chosen has the larger first feature."""
    made = []
    model = TinyContinuousRandom()
    for index, prompt in enumerate(prompts(count)):
        seeds = [1000 * seed + 2 * k * index + number for number in range(2 * k)]
        dropout = MlpDropoutOptions(layers="all", rate=0.3)
        with torch.no_grad(), mlp_dropout(model, seeds, dropout, QUERIES):
            sampled = model.features([prompt] * 2 * k).numpy()
        order = np.argsort(-sampled[:, :, 0].mean(1))
        pairs = tuple((c, k + r) for c in range(k) for r in range(k))
        made.append(Preference(prompt, tuple(sampled[order]), pairs))
    return made
