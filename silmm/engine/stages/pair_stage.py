"""Step 5, pairs: chosen and rejected candidates of each prompt (PAIRS), by the pair rule or of the user."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from silmm.contracts.candidates import Candidate, Pair, Prompt
from silmm.contracts.components import PairRule
from silmm.contracts.models import Latent
from silmm.contracts.records import PAIRS
from silmm.engine.stages.candidate_views import Answers, Key, candidate_groups
from silmm.engine.stages.plugin_calls import REPORT, blaming
from silmm.engine.stages.seed_scope import SeedScope
from silmm.errors import PluginError

WITHOUT_PAIRS, EQUAL = "prompts-without-pairs", "equal-candidates"
_ROUNDING = 1e-12
"""Difference of two scores that sums in float64 make by themselves."""


def choose_pairs(
    rule: PairRule,
    prompts: pa.Table,
    candidates: pa.Table,
    scores: pa.Table,
    *,
    scope: SeedScope,
    questions: pa.Table | None = None,
    answers: Answers | None = None,
    latents: Mapping[Key, Latent] | None = None,
    who: str = "The pair rule",
) -> tuple[pa.Table, dict[str, int]]:
    """Pick chosen and rejected candidates of each prompt: a complete offline DPO data set.

    A pair of candidates that are equal, in score or in their representation, is no preference: it is dropped and
    counted.

    Args:
        rule: called `who` in messages.
        prompts: PROMPTS of one shard.
        candidates: the columns of :func:`~silmm.engine.stages.candidate_views.view_columns` of the same prompts.
        scores: SCORES of the same prompts.
        scope: of the candidates' seeds.
        questions: QUESTIONS about the prompts, where the rule needs answers.
        answers: about the candidates, where the rule needs them.
        latents: features of a continuous model's candidates, where the rule needs them.

    Raises:
        PluginError: the rule failed, or returned something else than pairs of scored candidates.
    """
    groups = candidate_groups(
        prompts, candidates, scope, questions=questions, answers=answers, scores=scores, latents=latents
    )
    columns = (candidates.column(name).to_pylist() for name in ("prompt_id", "candidate", "z", "latent_id"))
    stored = {(identity, candidate): (z, latent) for identity, candidate, z, latent in zip(*columns, strict=True)}
    rows: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for prompt, group in zip(prompts.to_pylist(), groups, strict=True):
        identity, before = prompt["prompt_id"], len(rows)
        for pair in pairs_of(rule, group, who):
            chosen, rejected = group[pair.chosen], group[pair.rejected]
            sides = [stored[identity, candidate.index] for candidate in (chosen, rejected)]
            if sides[0] == sides[1] or not _differ(chosen, rejected):
                counts[EQUAL] += 1
                continue
            rows.append({
                "prompt_id": identity, "prompt": prompt["prompt"],
                "chosen": chosen.index, "rejected": rejected.index, "weight": pair.weight,
                "chosen_score": chosen.score, "rejected_score": rejected.score,
                "chosen_z": sides[0][0], "rejected_z": sides[1][0],
            })
        counts[WITHOUT_PAIRS] += len(rows) == before
    return pa.Table.from_pylist(rows, schema=PAIRS), dict(+counts)


def pairs_of(rule: PairRule, candidates: Sequence[Candidate], who: str = "The pair rule") -> list[Pair]:
    """Return the pairs that a rule makes of the candidates of one prompt, checked.

    Raises:
        PluginError: the rule failed, or a pair is none of two scored candidates, comes twice, or has no weight
            above 0.
    """
    prompt = candidates[0].prompt.text if candidates else ""
    with blaming(who, f"it paired the candidates of {prompt!r}"):
        pairs = list(rule.pairs(candidates))
    for pair in pairs:
        problem = _problem(pair, candidates)
        if problem:
            raise PluginError(f"{who} made {pair!r} of the {len(candidates)} candidates of {prompt!r}: {problem}.")
    if len({(pair.chosen, pair.rejected) for pair in pairs}) < len(pairs):
        raise PluginError(f"{who} made a pair of {prompt!r} twice; a pair that counts more has a weight. {REPORT}")
    return pairs


def _problem(pair: object, candidates: Sequence[Candidate]) -> str:
    """Say what is wrong with a pair, or return an empty string."""
    if not isinstance(pair, Pair):
        return "it is no silmm.contracts.candidates.Pair"
    indices = (pair.chosen, pair.rejected)
    if any(isinstance(index, bool) or not isinstance(index, int | np.integer) for index in indices):
        return "chosen and rejected are indices of candidates"
    if not all(0 <= index < len(candidates) for index in indices):
        return f"the indices go from 0 to {len(candidates) - 1}"
    if any(candidates[index].score is None for index in indices):
        return "a candidate without a score is in no pair"
    if pair.chosen == pair.rejected:
        return "a candidate is not preferred to itself"
    weighted = isinstance(pair.weight, int | float | np.number) and 0 < float(pair.weight) < math.inf
    return "" if weighted else "the weight is a finite number above 0"


def _differ(chosen: Candidate, rejected: Candidate) -> bool:
    """Say whether the scores of two scored candidates differ by more than rounding."""
    first, second = float(chosen.score or 0.0), float(rejected.score or 0.0)
    return abs(first - second) > _ROUNDING * max(1.0, abs(first), abs(second))


def makes_pairs(rule: PairRule, count: int, who: str = "The pair rule") -> bool:
    """Say whether a rule that needs nothing but scores makes a pair of `count` candidates scored from 1 to -1."""
    candidates = [
        Candidate(Prompt("", ""), index, index, index, np.array([index], np.int32), (), score=float(score))
        for index, score in enumerate(np.linspace(1.0, -1.0, count))
    ]
    return bool(pairs_of(rule, candidates, who))


def allowed_pairs(
    pairs: pa.Table, count: int | None, excluded: Callable[[str], bool]
) -> tuple[pa.Table, dict[str, int]]:
    """Keep a user's pairs of the first `count` prompts that are not held out; count held-out pairs."""
    prompts = pairs.column("prompt").to_pylist()
    distinct = dict.fromkeys(prompts)
    held_out = {prompt for prompt in distinct if excluded(prompt)}
    kept = set([prompt for prompt in distinct if prompt not in held_out][:count])
    table = pairs.filter(pa.array([prompt in kept for prompt in prompts], pa.bool_()))
    dropped = sum(prompt in held_out for prompt in prompts)
    return table, {"excluded": dropped} if dropped else {}
