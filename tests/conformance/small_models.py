"""Two small sound models with random weights, and the cases that the kit's own tests give them."""

from __future__ import annotations

import torch
from silmm_plugins.models.tiny.vocabulary import Vocabulary
from silmm_plugins.models.tiny_discrete.image_tokenizer import TinyImageTokenizer
from silmm_plugins.models.tiny_discrete.language_model import TinyDiscreteLM
from silmm_plugins.models.tiny_discrete.model import TinyDiscrete

from silmm.testing import Cases
from tests.toy.tiny_continuous_random import TinyContinuousRandom

WORDS = ["yes", "no", "a", "red", "blue", "circle", "square", "and", "is", "there", "?", ",", "."]
CASES = Cases(
    prompts=["a red circle", "a blue square and a red circle", "a square"],
    questions=[["is there a circle?"], ["is there a red square?", "a circle?"], []],
    tolerance=2e-4,
)


def discrete() -> TinyDiscrete:
    """Return the embedded discrete model's architecture, smaller and sharpened so that choices matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TinyDiscreteLM(Vocabulary(WORDS, 16), hidden=32, layers=2, heads=2, mlp=48, codes=20)
        with torch.no_grad():
            model.backbone.get_input_embeddings().weight *= 20
        tokenizer = TinyImageTokenizer(20, grid=4)
        tokenizer.codebook[:] = torch.rand(20, 48)
    return TinyDiscrete(model, tokenizer)


def continuous() -> TinyContinuousRandom:
    """Return a continuous model of four queries."""
    return TinyContinuousRandom()
