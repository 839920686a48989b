"""The stages of Figure 2: functions from tables to tables; each knows one component and no file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from silmm.contracts.candidates import Prompt
from silmm.contracts.components import PairRule, Prompter, PrompterResult, Questioner, Sampler, Scorer
from silmm.contracts.models import BaseModel, Latent
from silmm.contracts.records import ANSWERS, CANDIDATES, PAIRS, QUESTIONS, SCORES
from silmm.errors import DataError, PluginError
from silmm.seeds import derive
from silmm.storage.tables import decode_png, encode_png, latent_columns

SCORED_COLUMNS = ["prompt_id", "candidate", "image", "further_images"]
"""Columns of CANDIDATES that scoring reads."""
OK, NO_QUESTIONS, NON_FINITE = "ok", "no-questions", "non-finite"
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class SeedScope:
    """Where in the run a stage works: what its seeds depend on besides the unit of work."""

    seed: int
    iteration: int

    def derive(self, *parts: str | int) -> int:
        """Return the seed of a unit of work of this iteration."""
        return derive(self.seed, "iteration", self.iteration, *parts)


# ------------------------------------------------------------------------------------------ prompts


def write_prompts(
    model: BaseModel, prompter: Prompter, count: int, scope: SeedScope, excluded: Callable[[str], bool]
) -> PrompterResult:
    """Let the prompter write `count` prompts; drop and count what it should not have returned."""
    result = prompter.write(model, count, scope.derive("prompts"), excluded)
    return keep_prompts(result.prompts, count, excluded, result.rejected, reads=model.reads)


def keep_prompts(
    prompts: Sequence[Prompt],
    count: int | None,
    excluded: Callable[[str], bool],
    rejected: Mapping[str, int] | None = None,
    *,
    reads: Callable[[str], bool] = lambda _: True,
) -> PrompterResult:
    """Keep the first `count` prompts that are new, not held out and readable; count what is dropped.

    Args:
        reads: Says whether the model can read a prompt (:meth:`BaseModel.reads`).

    Raises:
        DataError: None is left, and some that the model cannot read are among the lost.
    """
    counts = dict(rejected or {})
    kept: dict[str, Prompt] = {}
    unreadable: list[str] = []
    for prompt in prompts:
        if count is not None and len(kept) == count:
            break
        reason = (
            "duplicate" if prompt.text in kept
            else "excluded" if excluded(prompt.text)
            else None if reads(prompt.text) else UNREADABLE
        )
        if reason is None:
            kept[prompt.text] = prompt
            continue
        counts[reason] = counts.get(reason, 0) + 1
        unreadable += [prompt.text] if reason == UNREADABLE else []
    if unreadable and not kept:
        raise DataError(
            f"No prompt is left to work on: the model cannot read {len(unreadable)} of them, such as "
            f"{unreadable[0]!r}. They hold words that it does not know, or are too long for it; its "
            "page in docs/ tells what it reads."
        )
    return PrompterResult(tuple(kept.values()), counts)


# ------------------------------------------------------------------------------------------- sample


def sample_candidates(
    model: BaseModel,
    sampler: Sampler,
    prompts: pa.Table,
    images_per_prompt: int,
    scope: SeedScope,
    decodes: int = 1,
) -> tuple[pa.Table, dict[str, int]]:
    """Sample and decode `images_per_prompt` candidates of each prompt (PROMPTS -> CANDIDATES).

    All candidates of a prompt share the seeds of the decoder's noises: they differ by z alone. Each is
    decoded under `decodes_per_candidate` noises. What the sampler says that it dropped is counted.
    """
    earlier = _dropped(sampler)
    units = [
        (row["prompt_id"], row["prompt"], candidate)
        for row in prompts.to_pylist()
        for candidate in range(images_per_prompt)
    ]
    texts = [prompt for _, prompt, _ in units]
    seeds = [scope.derive("sample", prompt, candidate) for _, prompt, candidate in units]
    latents = _same_length(sampler.sample(model, texts, seeds), units, "the sampler")
    images = [_decoded(model, latents, texts, scope, decode) for decode in range(decodes)]
    rows = [
        {
            "prompt_id": identity, "candidate": candidate, "seed": seed,
            **latent_columns(latent), "image": image, "further_images": further,
        }
        for (identity, _, candidate), seed, latent, image, *further in zip(
            units, seeds, latents, *images, strict=True
        )
    ]
    return pa.Table.from_pylist(rows, schema=CANDIDATES), dict(_dropped(sampler) - earlier)


def _decoded(
    model: BaseModel, latents: Sequence[Latent], texts: Sequence[str], scope: SeedScope, decode: int
) -> list[dict[str, bytes | None]]:
    noise = [scope.derive("decode", prompt, decode) for prompt in texts]
    return [encode_png(one) for one in _same_length(model.decode(latents, noise), latents, "the decoder")]


def _dropped(component: Sampler | Questioner) -> Counter[str]:
    return Counter(getattr(component, "dropped", {}))


# ---------------------------------------------------------------------------------------- questions


def ask_questions(
    model: BaseModel, questioner: Questioner, prompts: pa.Table
) -> tuple[pa.Table, dict[str, int]]:
    """Turn prompts into yes/no questions (PROMPTS -> QUESTIONS).

    Prompts that get none are counted, and so is what the questioner says that it dropped.
    """
    earlier = _dropped(questioner)
    identities = prompts.column("prompt_id").to_pylist()
    asked = questioner.ask(model, prompts.column("prompt").to_pylist())
    asked = _same_length(asked, identities, "the questioner")
    rows = [
        {
            "prompt_id": identity, "index": index,
            "statement": question.statement, "question": question.text,
        }
        for identity, questions in zip(identities, asked, strict=True)
        for index, question in enumerate(questions)
    ]
    without = sum(1 for questions in asked if not questions)
    counts = _dropped(questioner) - earlier
    counts[NO_QUESTIONS] += without
    return pa.Table.from_pylist(rows, schema=QUESTIONS), dict(+counts)


# -------------------------------------------------------------------------------------------- score


def score_candidates(
    model: BaseModel,
    scorer: Scorer,
    prompts: pa.Table,
    candidates: pa.Table,
    questions: pa.Table,
    *,
    scope: SeedScope,
) -> tuple[pa.Table, pa.Table, dict[str, int]]:
    """Answer and score each candidate (Eq. 1): ANSWERS, SCORES, and counts of the unscored.

    A candidate's score is the mean over its images, one for each noise of the decoder. A candidate without
    questions or with an answer that is not finite gets a status and no number.
    """
    texts = {row["prompt_id"]: row["prompt"] for row in prompts.to_pylist()}
    asked: dict[str, list[str]] = {}
    for row in questions.to_pylist():
        asked.setdefault(row["prompt_id"], []).append(row["question"])
    rows = candidates.select(SCORED_COLUMNS).to_pylist()
    answers = _answers(model, [row for row in rows if row["prompt_id"] in asked], asked)
    answer_rows: list[dict[str, Any]] = []
    score_rows: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    for row in rows:
        identity, candidate = row["prompt_id"], row["candidate"]
        key = {"prompt_id": identity, "candidate": candidate}
        told = answers.get((identity, candidate), [])
        seed = scope.derive("score", texts[identity], candidate)
        score, status = _score(scorer, told, seed)
        if status != OK:
            counts[status] = counts.get(status, 0) + 1
        score_rows.append({**key, "score": score, "status": status})
        answer_rows.extend(
            {**key, "decode": decode, "index": index, "p_yes": _number(yes), "p_no": _number(no)}
            for decode, answer in enumerate(told) for index, (yes, no) in enumerate(answer.tolist())
        )
    return (
        pa.Table.from_pylist(answer_rows, schema=ANSWERS),
        pa.Table.from_pylist(score_rows, schema=SCORES),
        counts,
    )


def _answers(
    model: BaseModel, rows: Sequence[Mapping[str, Any]], asked: Mapping[str, Sequence[str]]
) -> dict[tuple[str, int], list[npt.NDArray[np.float64]]]:
    """Return the answers about each image of each candidate, (n_questions, 2) an image."""
    units = [(row, image) for row in rows for image in (row["image"], *(row["further_images"] or ()))]
    if not units:
        return {}
    questions = [asked[row["prompt_id"]] for row, _ in units]
    found = model.yes_no([decode_png(image) for _, image in units], questions)
    answers: dict[tuple[str, int], list[npt.NDArray[np.float64]]] = {}
    for (row, _), texts, values in zip(
        units, questions, _same_length(found, units, "yes_no"), strict=True
    ):
        if values.shape != (len(texts), 2):
            raise PluginError(
                f"The model answered {len(texts)} questions with an array of shape {values.shape}; "
                f"({len(texts)}, 2) is asked of yes_no. Report it to the model's plugin."
            )
        answers.setdefault((row["prompt_id"], row["candidate"]), []).append(values)
    return answers


def _score(
    scorer: Scorer, answers: Sequence[npt.NDArray[np.float64]], seed: int
) -> tuple[float | None, str]:
    if not answers:
        return None, NO_QUESTIONS
    if not all(np.isfinite(answer).all() for answer in answers):
        return None, NON_FINITE
    score = float(np.mean([scorer.score(answer, seed) for answer in answers]))
    return (score, OK) if np.isfinite(score) else (None, NON_FINITE)


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


# -------------------------------------------------------------------------------------------- pairs


def choose_pairs(
    rule: PairRule, prompts: pa.Table, candidates: pa.Table, scores: pa.Table
) -> tuple[pa.Table, dict[str, int]]:
    """Pick chosen and rejected candidates of each prompt: a complete offline DPO data set.

    Args:
        rule: Sees the scores of one prompt, in candidate order, NaN where there is none.
        prompts: PROMPTS of one shard.
        candidates: columns prompt_id, candidate and z of the same prompts.
        scores: SCORES of the same prompts.
    """
    by_prompt: dict[str, dict[int, float]] = {}
    for row in scores.to_pylist():
        value = row["score"] if row["status"] == OK else np.nan
        by_prompt.setdefault(row["prompt_id"], {})[row["candidate"]] = value
    columns = (candidates.column(name).to_pylist() for name in ("prompt_id", "candidate", "z"))
    latents = {(identity, candidate): z for identity, candidate, z in zip(*columns, strict=True)}
    rows: list[dict[str, Any]] = []
    without = 0
    for prompt in prompts.to_pylist():
        identity = prompt["prompt_id"]
        values = by_prompt.get(identity, {})
        numbers = sorted(values)
        pairs = rule.pairs(np.array([values[number] for number in numbers], dtype=np.float64))
        without += not pairs
        for chosen, rejected in ((numbers[a], numbers[b]) for a, b in pairs):
            if not np.isfinite([values[chosen], values[rejected]]).all():
                raise PluginError(
                    f"The pair rule picked a candidate without a score for {prompt['prompt']!r}; "
                    "it must leave out candidates whose score is NaN."
                )
            rows.append({
                "prompt_id": identity, "prompt": prompt["prompt"],
                "chosen": chosen, "rejected": rejected,
                "chosen_score": values[chosen], "rejected_score": values[rejected],
                "chosen_z": latents[identity, chosen], "rejected_z": latents[identity, rejected],
            })
    counts = {"prompts-without-pairs": without} if without else {}
    return pa.Table.from_pylist(rows, schema=PAIRS), counts


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


# ----------------------------------------------------------------------------------------- features


def resample_features(
    model: BaseModel,
    sampler: Sampler,
    prompts: pa.Table,
    candidates: pa.Table,
    used: Mapping[str, Collection[int]],
) -> dict[tuple[str, int], Latent]:
    """Sample H of the candidates that a pair uses from their seeds once more, without decoding them.

    Args:
        model: carries the adapter that the candidates were sampled with.
        sampler: the one that sampled them.
        prompts: PROMPTS of one shard.
        candidates: columns prompt_id, candidate, seed and shape of the same prompts.
        used: prompt_id -> numbers of the candidates that are in some pair.

    Raises:
        PluginError: a sampled again H has another shape than the candidate had, or is not finite.
    """
    texts = dict(zip(*(prompts.column(name).to_pylist() for name in ("prompt_id", "prompt")), strict=True))
    columns = ["prompt_id", "candidate", "seed", "shape"]
    rows = [
        row for row in candidates.select(columns).to_pylist()
        if row["candidate"] in used.get(row["prompt_id"], ())
    ]
    latents = sampler.sample(model, [texts[row["prompt_id"]] for row in rows], [row["seed"] for row in rows])
    found: dict[tuple[str, int], Latent] = {}
    for row, latent in zip(rows, _same_length(latents, rows, "the sampler"), strict=True):
        if list(latent.shape) != row["shape"] or not np.isfinite(latent).all():
            raise PluginError(
                f"Candidate {row['candidate']} of {texts[row['prompt_id']]!r} was sampled again as features "
                f"of shape {list(latent.shape)}, finite or not, in place of finite {row['shape']}: the "
                "sampler or the model does not go by the seed alone. Report it to their plugins."
            )
        found[row["prompt_id"], row["candidate"]] = latent.astype(np.float32)
    return found


def _same_length(found: list[Any], asked: Sequence[object], who: str) -> list[Any]:
    if len(found) != len(asked):
        raise PluginError(
            f"{who} returned {len(found)} results for {len(asked)} inputs; "
            "it must return one for each, in order. Report it to its plugin."
        )
    return found
