"""The work that is timed: the embedded model at its real size, prompts, candidates, images, questions."""

from __future__ import annotations

import numpy as np
import torch
from silmm_benchmarks.shapes.facts import atomic_facts, question
from silmm_benchmarks.shapes.language import CATEGORIES, VOCABULARY, caption
from silmm_benchmarks.shapes.splits import training_spec
from silmm_plugins.models.tiny.vocabulary import Vocabulary
from silmm_plugins.models.tiny_discrete.image_tokenizer import TinyImageTokenizer
from silmm_plugins.models.tiny_discrete.language_model import TinyDiscreteLM
from silmm_plugins.models.tiny_discrete.model import TinyDiscrete
from silmm_plugins.models.tiny_discrete.options import WEIGHTS

from silmm.contracts.models import Image, Preference, SamplingParams

SEED = 0


def load_model() -> tuple[TinyDiscrete, str]:
    """Return the embedded model and "shipped", or one of its size with random weights and "random".

    What a step costs does not depend on the weights, so a checkout without them can be timed too.
    """
    if (WEIGHTS / "config.json").is_file():
        return TinyDiscrete.load(), "shipped"
    return random_model(hidden=160, layers=6, heads=4, mlp=448, codes=1024), "random"


def random_model(*, hidden: int, layers: int, heads: int, mlp: int, codes: int) -> TinyDiscrete:
    """Return a model of the embedded one's architecture with random weights of a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        vocabulary = Vocabulary(tuple(VOCABULARY))
        network = TinyDiscreteLM(vocabulary, hidden=hidden, layers=layers, heads=heads, mlp=mlp, codes=codes)
        tokenizer = TinyImageTokenizer(codes)
        tokenizer.codebook.copy_(torch.rand(tokenizer.codebook.shape))
    return TinyDiscrete(network, tokenizer)


def prompts(count: int) -> list[str]:
    """Return training prompts, the categories in turn."""
    rng = np.random.default_rng(SEED)
    return [caption(training_spec(rng, CATEGORIES[i % len(CATEGORIES)]), rng) for i in range(count)]


def questions(count: int) -> list[str]:
    """Return distinct yes/no questions about the facts of training prompts."""
    rng = np.random.default_rng(SEED)
    found: dict[str, None] = {}
    while len(found) < count:
        category = CATEGORIES[len(found) % len(CATEGORIES)]
        found |= {question(fact): None for fact in atomic_facts(training_spec(rng, category))}
    return list(found)[:count]


def preferences(model: TinyDiscrete, count: int, k: int) -> list[Preference]:
    """Return top-k × last-k preferences on candidates that the model sampled: k² pairs of 2k a prompt."""
    texts = prompts(count)
    repeated = [text for text in texts for _ in range(2 * k)]
    sampled = model.represent(repeated, range(len(repeated)), SamplingParams())
    pairs = tuple((c, k + r) for c in range(k) for r in range(k))
    return [
        Preference(text, tuple(sampled[2 * k * i : 2 * k * (i + 1)]), pairs) for i, text in enumerate(texts)
    ]


def images(model: TinyDiscrete, count: int) -> list[Image]:
    """Return images that the model sampled."""
    return model.decode(model.represent(prompts(count), range(count), SamplingParams()), range(count))
