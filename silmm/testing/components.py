"""What the loop relies on in samplers, scorers and pair rules."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from silmm.contracts.components import PairRule, Sampler, Scorer
from silmm.contracts.models import BaseModel, Latent
from silmm.testing.cases import Cases, Nonconformance, compare
from silmm.testing.seeds import other_randomness, own_randomness

_SEEDS = range(4)


def check_sampler(sampler: Sampler, model: BaseModel, cases: Cases) -> float:
    """Check that prompt and seed decide a candidate, in any company, and that seeds sample differently."""
    prompts = [prompt for prompt in cases.prompts for _ in _SEEDS]
    seeds = [seed for _ in cases.prompts for seed in _SEEDS]
    with own_randomness("sample"):
        together = sampler.sample(model, prompts, seeds)
    if len(together) != len(prompts):
        raise Nonconformance(f"sample: {len(together)} z for {len(prompts)} prompts")
    with other_randomness():
        backwards = sampler.sample(model, prompts[::-1], seeds[::-1])[::-1]
    tolerance = 0.0 if model.kind == "discrete" else cases.tolerance
    worst = 0.0
    for row, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
        alone = sampler.sample(model, [prompt], [seed])[0]
        for how, other in (("alone", alone), ("in another order", backwards[row])):
            promise = f"sample: seed {seed} of {prompt!r} is the same {how} and in a batch"
            worst = max(worst, compare(together[row], other, tolerance, promise))
    if all(_alike(together[first : first + len(_SEEDS)]) for first in range(0, len(prompts), len(_SEEDS))):
        raise Nonconformance("sample: all seeds give one and the same z, so there is nothing to prefer")
    return worst


def _alike(latents: Sequence[Latent]) -> bool:
    return all(np.array_equal(z, latents[0]) for z in latents)


def check_scorer(scorer: Scorer) -> None:
    """Check that scores are finite and repeatable, and that nothing is scored without sound answers."""
    for answers in ([[0.9, 0.1]], [[0.0, 1.0]], [[0.5, 0.5], [0.2, 0.3]], [[0.0, 0.0]], [[1.0, 0.0]] * 9):
        table = np.array(answers)
        with own_randomness("score"):
            found = scorer.score(table.copy(), 7)
        with other_randomness():
            again = scorer.score(table.copy(), 7)
        if not math.isfinite(found) or found != again:
            raise Nonconformance(f"score: {answers} with seed 7 gave {found} and then {again}")
    for table in (np.zeros((0, 2)), np.array([[math.nan, 0.5]])):
        try:
            value = scorer.score(table, 7)
        except ValueError:
            continue
        raise Nonconformance(f"score: {table.tolist()} is no set of answers, and was scored {value}")


def check_pair_rule(rule: PairRule) -> None:
    """Check that pairs name two different candidates that have a score, and that too few scores give none."""
    nan = math.nan
    for scores in ([0.1, 0.9, 0.5, 0.3], [nan, 0.2, nan, 0.8], [0.5] * 4, [nan] * 3, [nan, 0.4], [0.3]):
        table = np.array(scores)
        for chosen, rejected in rule.pairs(table.copy()):
            if chosen == rejected or not {chosen, rejected} <= set(range(len(scores))):
                raise Nonconformance(f"pairs: ({chosen}, {rejected}) is no pair of {len(scores)} candidates")
            if math.isnan(table[chosen]) or math.isnan(table[rejected]):
                raise Nonconformance(f"pairs: ({chosen}, {rejected}) of {scores} has one without a score")
    if not rule.pairs(np.linspace(-1, 1, 32)):
        raise Nonconformance("pairs: 32 different scores give no pair")
