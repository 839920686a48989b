"""Training, tuning and report prompts, kept apart by combinations instead of by chance."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import numpy as np

from silmm_benchmarks.shapes.holdout import is_held_out, meaning, names_held_out
from silmm_benchmarks.shapes.language import (
    CATEGORIES,
    Spec,
    caption,
    detokenize,
    parse_caption,
    tokenize,
)
from silmm_benchmarks.shapes.scene_sampling import sample_spec

TUNE_PER_CATEGORY: Final = 30
REPORT_PER_CATEGORY: Final = 60
HELD_OUT_MEANINGS: Final = {"shape": 18, "texture": 81}
"""All that the world has to say in these categories: fewer than both splits would take."""

_TUNE_SEED: Final = 20261121
_REPORT_SEED: Final = 20261122
_MAX_TRIES: Final = 200_000
_EDGES: Final = re.compile(r"^[\W_]+|[\W_]+$")


@dataclass(frozen=True)
class EvalPrompt:
    """A prompt to evaluate on, its category, and what it says."""

    text: str
    category: str
    spec: Spec


def _sample_category(
    rng: np.random.Generator, category: str, count: int, taken: Iterable[EvalPrompt] = ()
) -> list[EvalPrompt]:
    """Sample prompts of different meaning, none in `taken`, each with at least one held-out combination."""
    meanings = {meaning(prompt.spec) for prompt in taken}
    prompts: list[EvalPrompt] = []
    for _ in range(_MAX_TRIES):
        spec = sample_spec(rng, category)
        if meaning(spec) in meanings or not is_held_out(spec):
            continue
        meanings.add(meaning(spec))
        prompts.append(EvalPrompt(caption(spec, rng), category, spec))
        if len(prompts) == count:
            return prompts
    raise RuntimeError(f"fewer than {count} held-out prompts in category {category!r}")


@lru_cache(maxsize=1)
def _splits() -> tuple[tuple[EvalPrompt, ...], tuple[EvalPrompt, ...]]:
    """Return (tune, report), of which no two prompts mean the same."""
    tune: list[EvalPrompt] = []
    report: list[EvalPrompt] = []
    both = TUNE_PER_CATEGORY + REPORT_PER_CATEGORY
    for index, category in enumerate(CATEGORIES):
        count = min(both, HELD_OUT_MEANINGS.get(category, both))
        cut = count * TUNE_PER_CATEGORY // both
        rng = np.random.default_rng([_TUNE_SEED, index])
        # Rare meanings come late in a sample: without choosing from a longer one tune would have none.
        sampled = _sample_category(rng, category, count)
        chosen = [sampled[i] for i in rng.permutation(count)[:cut]]
        rng = np.random.default_rng([_REPORT_SEED, index])
        tune += chosen
        report += _sample_category(rng, category, count - cut, chosen)
    return tuple(tune), tuple(report)


def tune_prompts() -> list[EvalPrompt]:
    """Return the 213 prompts for choosing settings: 30 of a category, shape 6, texture 27."""
    return list(_splits()[0])


def report_prompts() -> list[EvalPrompt]:
    """Return the 426 prompts for the numbers reported: 60 of a category, shape 12, texture 54."""
    return list(_splits()[1])


SPLITS: Final[Mapping[str, Callable[[], list[EvalPrompt]]]] = MappingProxyType(
    {"report": report_prompts, "tune": tune_prompts}
)


def contaminated(text: str) -> bool:
    """Return whether training on a prompt would leak what the evaluation prompts test.

    Case, spacing, and quotes and punctuation around the text do not count. A caption of the world
    is contaminated when it has a held-out combination, as every evaluation prompt has; any other
    text when it only names the words of one (:func:`names_held_out`).
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    text = detokenize(tokenize(_EDGES.sub("", text)))
    for wording in (text, f"{text}."):  # some captions end with a period, the others must not
        try:
            return is_held_out(parse_caption(wording))
        except ValueError:
            continue
    return names_held_out(text)


def training_spec(rng: np.random.Generator, category: str) -> Spec:
    """Sample a spec without any held-out combination.

    Raises:
        ValueError: when the category is unknown.
    """
    while True:
        spec = sample_spec(rng, category)
        if not is_held_out(spec):
            return spec
