"""What the loop relies on in samplers, scorers and pair rules."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from silmm.contracts.candidates import Candidate, Prompt, Question, Sampled
from silmm.contracts.components import PairRule, Sampler, Scorer
from silmm.contracts.judges import FeedbackJudge
from silmm.contracts.models import BaseModel, Image, Latent
from silmm.contracts.registration import DEFAULT_NEEDS, Need
from silmm.engine.stages.candidate_views import read_only
from silmm.engine.stages.pair_stage import pairs_of
from silmm.errors import PluginError
from silmm.testing.cases import Cases, Nonconformance, compare
from silmm.testing.seeds import other_randomness, own_randomness

_SEEDS = range(4)


def check_sampler(sampler: Sampler, model: BaseModel, cases: Cases) -> float:
    """Check that prompt and seed decide a candidate, in any company, and that seeds sample differently."""
    prompts = [prompt for prompt in cases.prompts for _ in _SEEDS]
    seeds = [seed for _ in cases.prompts for seed in _SEEDS]
    with own_randomness("sample"):
        together = _sampled(sampler, model, prompts, seeds)
    if len(together) != len(prompts):
        raise Nonconformance(f"sample: {len(together)} z for {len(prompts)} prompts")
    with other_randomness():
        backwards = _sampled(sampler, model, prompts[::-1], seeds[::-1])[::-1]
    tolerance = 0.0 if model.kind == "discrete" else cases.tolerance
    worst = 0.0
    for row, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
        (alone,) = _sampled(sampler, model, [prompt], [seed])
        for how, other in (("alone", alone), ("in another order", backwards[row])):
            promise = f"sample: seed {seed} of {prompt!r} is the same {how} and in a batch"
            worst = max(worst, compare(together[row].latent, other.latent, tolerance, promise))
            if together[row].meta != other.meta:
                raise Nonconformance(f"{promise}: its meta is {other.meta} and {together[row].meta}")
        try:
            json.dumps(dict(together[row].meta), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise Nonconformance(f"sample: the meta {together[row].meta} is not JSON-able: {error}") from error
    latents = [item.latent for item in together]
    if all(_alike(latents[first : first + len(_SEEDS)]) for first in range(0, len(prompts), len(_SEEDS))):
        raise Nonconformance("sample: all seeds give one and the same z, so there is nothing to prefer")
    return worst


def _sampled(
    sampler: Sampler, model: BaseModel, prompts: Sequence[str], seeds: Sequence[int]
) -> list[Sampled]:
    return [
        item if isinstance(item, Sampled) else Sampled(item) for item in sampler.sample(model, prompts, seeds)
    ]


def _alike(latents: Sequence[Latent]) -> bool:
    return all(np.array_equal(z, latents[0]) for z in latents)


class _Undeclared(Sequence[Image]):
    """Images for components that did not declare them."""

    def __len__(self) -> int:
        raise Nonconformance("images are used without being declared: register with needs=['images']")

    def __getitem__(self, position: object) -> Any:
        raise Nonconformance("images are used without being declared: register with needs=['images']")


class ExampleJudge:
    """Answers by the brightness of the image and the length of the question."""

    identity: Mapping[str, str] = MappingProxyType({"judge": "example"})

    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """Return p(yes), p(no) of each image's questions, (n_questions, 2) per image."""
        rows = []
        for image, texts in zip(images, questions, strict=True):
            p_yes = np.array([(image.mean() + len(text)) % 97 / 97 for text in texts])
            rows.append(np.stack([p_yes, 0.9 * (1 - p_yes)], axis=1))
        return rows


def example_candidates(
    count: int, needs: Collection[Need], *, decodes: int = 1, scores: Sequence[float | None] | None = None
) -> list[Candidate]:
    """Return the candidates of one prompt as a component with these needs sees them; arrays are read-only."""
    rng = np.random.default_rng(count)
    images = [[rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(decodes)] for _ in range(count)]
    questions = (Question("Is there a cat?", "a cat"), Question("Is it red?", "it is red"))
    texts = [[question.text for question in questions]] * decodes
    for image in (image for group in images for image in group):
        image.setflags(write=False)
    return [
        Candidate(
            prompt=Prompt("a red cat", "color"), index=index, seed=index, score_seed=1000 + index,
            latent=read_only(np.arange(index, index + 6, dtype=np.int32)),
            images=images[index] if "images" in needs else _Undeclared(),
            questions=questions if "answers" in needs else (),
            answers=read_only(np.stack(ExampleJudge().yes_no(images[index], texts))) if "answers" in needs else None,
            score=scores[index] if scores else None,
        )
        for index in range(count)
    ]


def check_scorer(
    scorer: Scorer, needs: Collection[Need] = DEFAULT_NEEDS["scorer"], judge: FeedbackJudge | None = None
) -> None:
    """Check the scores of groups of candidates: their number and type, and that nothing else decides them.

    A score is a finite number or None, the same each time and in any order of the group. Nothing of a candidate is
    changed.

    Args:
        scorer: the component.
        needs: what it is registered with; what it does not need is not there.
        judge: answers what it asks; None is :class:`ExampleJudge`.
    """
    scored = 0
    for count, decodes in ((5, 1), (3, 2), (1, 1)):
        group = example_candidates(count, needs, decodes=decodes)
        with own_randomness("score"), _nothing_written("score"):
            first = list(scorer.score(group, judge or ExampleJudge()))
        with other_randomness(), _nothing_written("score"):
            backwards = list(scorer.score(group[::-1], judge or ExampleJudge()))[::-1]
        if len(first) != count:
            raise Nonconformance(f"score: {len(first)} scores for {count} candidates")
        for index, (score, again) in enumerate(zip(first, backwards, strict=True)):
            if score is not None and not (isinstance(score, Real) and math.isfinite(score)):
                raise Nonconformance(f"score: {score!r} for candidate {index}; a score is a finite number or None")
            if (score is None) != (again is None) or (
                score is not None and again is not None and not math.isclose(score, again, rel_tol=1e-6, abs_tol=1e-9)
            ):
                raise Nonconformance(f"score: candidate {index} has {score}, and {again} in another order")
        scored += sum(score is not None for score in first)
    if not scored:
        raise Nonconformance("score: no candidate has a score")


def check_pair_rule(rule: PairRule, needs: Collection[Need] = ()) -> None:
    """Check that pairs name two different candidates, the chosen scored above the rejected, the same each time.

    Args:
        rule: the component.
        needs: what it is registered with; what it does not need is not there.
    """
    many = [float(score) for score in np.linspace(-1, 1, 32)]
    for scores in (
        [0.1, 0.9, 0.5, 0.3], [None, 0.2, None, 0.8], [0.5] * 4, [None] * 3, [None, 0.4], [0.3], many, many[::-1]
    ):
        group = example_candidates(len(scores), needs, scores=scores)
        try:
            with own_randomness("pairs"), _nothing_written("pairs"):
                pairs = pairs_of(rule, group, "pairs")
            with other_randomness():
                again = pairs_of(rule, group, "pairs")
        except PluginError as error:
            raise Nonconformance(str(error)) from error
        if pairs != again:
            raise Nonconformance(f"pairs: {scores} gave {pairs} and then {again}")
        for pair in pairs:
            chosen, rejected = scores[pair.chosen], scores[pair.rejected]
            if chosen is None or rejected is None or chosen < rejected:
                raise Nonconformance(f"pairs: {pair} of {scores} prefers the candidate with the lower score")
        if len(scores) == len(many) and not pairs:
            raise Nonconformance("pairs: 32 different scores give no pair")


@contextmanager
def _nothing_written(method: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise Nonconformance(f"{method}: it writes into a candidate's array, which is read-only") from error
