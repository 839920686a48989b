"""Step 4, scoring: the judge answers the questions about each candidate's images (ANSWERS), the scorer scores."""

from __future__ import annotations

import numbers
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from silmm.contracts.candidates import Candidate, Question
from silmm.contracts.components import Scorer
from silmm.contracts.models import Image, Latent
from silmm.contracts.records import ANSWERS, SCORES
from silmm.contracts.registration import Need
from silmm.engine.stages.candidate_views import OK, Answers, Key, candidate_groups, questions_of, view_columns
from silmm.engine.stages.plugin_calls import REPORT, blaming, one_per_input
from silmm.engine.stages.question_stage import NO_QUESTIONS
from silmm.engine.stages.seed_scope import SeedScope
from silmm.errors import PluginError
from silmm.storage.tables import decode_png

NON_FINITE, NO_SCORE = "non-finite", "no-score"
"""Statuses of candidates without a score: an answer or the score is no number; the scorer gave none."""
_ROUNDING = 1e-2
"""How far p(yes) + p(no) may exceed 1: a softmax in bfloat16 is off by up to 0.002."""
_DEFAULT_NEEDS: Collection[Need] = frozenset({"answers"})


class YesNoModel(Protocol):
    """The part of a base model that answers."""

    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """Answer as :meth:`silmm.contracts.models.BaseModel.yes_no` does."""
        ...


@dataclass(frozen=True)
class RunJudge:
    """Whoever answers in a run, as a :class:`silmm.contracts.judges.FeedbackJudge` whose answers are checked."""

    model: YesNoModel
    identity: Mapping[str, str] = field(default_factory=dict)

    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """Return p(yes), p(no) of each image's questions, (n_questions, 2) per image; NaN may be among them.

        Raises:
            PluginError: an array has another shape, or finite numbers in it are no probabilities.
        """
        answers = one_per_input(self.model.yes_no(images, questions), questions, "yes_no of the model")
        for values, texts in zip(answers, questions, strict=True):
            if np.shape(values) != (len(texts), 2):
                raise PluginError(
                    f"The model answered {len(texts)} questions with an array of shape {np.shape(values)}; "
                    f"({len(texts)}, 2) is asked of yes_no. Report it to the model's plugin."
                )
            finite = values[np.isfinite(values).all(axis=1)]
            if (finite < 0).any() or (finite.sum(axis=1) > 1 + _ROUNDING).any():
                raise PluginError(
                    f"The model answered {texts[0]!r} or a question beside it with numbers that are no "
                    "probabilities: p(yes) and p(no) are at least 0 and add up to at most 1. Report it to the "
                    "model's plugin."
                )
        return answers


def score_candidates(
    judge: RunJudge,
    scorer: Scorer,
    prompts: pa.Table,
    candidates: pa.Table,
    questions: pa.Table | None,
    *,
    scope: SeedScope,
    needs: Collection[Need] = _DEFAULT_NEEDS,
    latents: Mapping[Key, Latent] | None = None,
    lend_judge: bool = True,
    who: str = "The scorer",
) -> tuple[pa.Table, pa.Table, dict[str, int]]:
    """Answer and score each candidate (Eq. 1): ANSWERS, SCORES, and counts of the unscored.

    A candidate that has no questions or an answer that is not finite, where the scorer needs answers, and one to
    which the scorer gives no score or none that is finite, gets a status and no number.

    Args:
        judge: answers the questions, and those of the scorer where `lend_judge` says so.
        scorer: called `who` in messages; it declared `needs`.
        prompts: PROMPTS of one shard.
        candidates: the columns of :func:`~silmm.engine.stages.candidate_views.view_columns` of the same prompts,
            with images where there are questions or the scorer needs images.
        questions: QUESTIONS about the prompts; None where nobody needs answers.
        scope: of the seeds of scorers that use chance.
        needs: What the scorer declared.
        latents: features of a continuous model's candidates, where the scorer needs them.
        lend_judge: False where answers come from a table.

    Raises:
        PluginError: the scorer failed or returned something else than it should.
    """
    rows = candidates.to_pylist()
    answers = _answers(judge, rows, questions_of(questions))
    finite = {key: array for key, array in answers.items() if np.isfinite(array).all()}
    groups = candidate_groups(
        prompts, candidates.select(view_columns(needs)), scope,
        questions=questions, answers=finite, latents=latents,
    )
    scores: dict[Key, float | None] = {}
    reasons: dict[Key, str] = {}
    for prompt, group in zip(prompts.to_pylist(), groups, strict=True):
        identity = prompt["prompt_id"]
        usable = [candidate for candidate in group if "answers" not in needs or candidate.answers is not None]
        for candidate, score in zip(usable, _scores(scorer, usable, judge, lend_judge, who), strict=True):
            scores[identity, candidate.index] = score
            if score is None or not np.isfinite(score):
                reasons[identity, candidate.index] = NO_SCORE if score is None else NON_FINITE
        for candidate in group:
            key = (identity, candidate.index)
            if key not in scores:
                reasons[key] = NON_FINITE if key in answers else NO_QUESTIONS
    counts: dict[str, int] = {}
    for reason in reasons.values():
        counts[reason] = counts.get(reason, 0) + 1
    score_rows = []
    for row in rows:
        key = (row["prompt_id"], row["candidate"])
        status = reasons.get(key, OK)
        score_rows.append({
            "prompt_id": key[0], "candidate": key[1], "score": scores[key] if status == OK else None,
            "status": status,
        })
    return (
        pa.Table.from_pylist(_answer_rows(answers), schema=ANSWERS),
        pa.Table.from_pylist(score_rows, schema=SCORES),
        counts,
    )


def _scores(
    scorer: Scorer, candidates: Sequence[Candidate], judge: RunJudge, lend_judge: bool, who: str
) -> list[float | None]:
    """Return what the scorer gives the candidates of one prompt, checked in number and type."""
    if not candidates:
        return []
    with blaming(who, f"it scored the candidates of {candidates[0].prompt.text!r}"):
        results = scorer.score(candidates, judge if lend_judge else None)
    scores = one_per_input(results, candidates, who)
    for score in scores:
        if score is not None and (isinstance(score, bool) or not isinstance(score, numbers.Real)):
            raise PluginError(
                f"{who} gave {type(score).__name__} {score!r:.80} as the score of a candidate of "
                f"{candidates[0].prompt.text!r}; a score is a number or None. {REPORT}"
            )
    return [None if score is None else float(score) for score in scores]


def _answers(
    judge: RunJudge, rows: Sequence[Mapping[str, Any]], questions: Mapping[str, tuple[Question, ...]]
) -> Answers:
    """Return the answers about each candidate whose prompt has questions, (decodes, n_questions, 2)."""
    units = [
        (row, image)
        for row in rows if row["prompt_id"] in questions
        for image in (row["image"], *(row["further_images"] or ()))
    ]
    if not units:
        return {}
    texts = [[question.text for question in questions[row["prompt_id"]]] for row, _ in units]
    by_image = judge.yes_no([decode_png(image) for _, image in units], texts)
    decodes: dict[Key, list[npt.NDArray[np.float64]]] = {}
    for (row, _), values in zip(units, by_image, strict=True):
        decodes.setdefault((row["prompt_id"], row["candidate"]), []).append(values)
    return {key: np.stack(arrays).astype(np.float64, copy=False) for key, arrays in decodes.items()}


def _answer_rows(answers: Answers) -> list[dict[str, Any]]:
    return [
        {
            "prompt_id": identity, "candidate": candidate, "decode": decode, "index": index,
            "p_yes": _number(yes), "p_no": _number(no),
        }
        for (identity, candidate), decodes in answers.items()
        for decode, values in enumerate(decodes.tolist())
        for index, (yes, no) in enumerate(values)
    ]


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
