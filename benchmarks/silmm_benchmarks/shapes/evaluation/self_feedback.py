"""Compares the run's own candidates with the exact judge: their scores, and their diversity."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from silmm.bench.statistics import auc, within_group_auc
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import read_json, to_json, well_formed
from silmm.storage.sha256_cache import sha256_file
from silmm.storage.shards import Shards
from silmm.storage.tables import decode_png
from silmm_benchmarks.shapes.language import Spec, parse_caption

if TYPE_CHECKING:
    from silmm_benchmarks.shapes.exact_judge import ExactJudge

Floats = npt.NDArray[np.float64]

FORMAT = "2"
"""Raised when the figures that are kept in a file change."""
DIFFER = "candidates_facts_differ"
"""Name of :func:`facts_that_differ`, to which the number of the iteration is added."""


@dataclass(frozen=True)
class JudgedCandidate:
    """A candidate with the judge's verdict on each fact of its prompt."""

    prompt: str
    candidate: int
    holds: npt.NDArray[np.bool_]


def self_feedback(run: Path, judge: ExactJudge, work: Path) -> dict[str, float]:
    """Compare the run's candidates with the judge: the scores of the first iteration, diversity of all.

    In the first iteration only the base model has sampled and scored. Candidates without a score and
    prompts that are not captions of this world are left out and counted. The first image of a candidate
    is judged, where it was decoded under several noises.

    Returns:
        `auc` over all images and `auc_within_prompt` (each only where it is defined), the numbers
        of images that were used and left out, and the mean share of right facts of all
        candidates, of the best of each prompt by own score and of the best by the judge; for each
        iteration N `candidates_facts_differ_N`, see :func:`facts_that_differ`. Empty without scores.
    """
    figures = _kept(run / "iter-1", judge, work)
    differ = {1: figures.pop(DIFFER, None)}
    number = 2
    while later := _kept(run / f"iter-{number}", judge, work):
        differ[number] = later.get(DIFFER)
        number += 1
    return figures | {f"{DIFFER}_{n}": value for n, value in differ.items() if value is not None}


def facts_that_differ(judged: Sequence[JudgedCandidate]) -> float | None:
    """Return how different the candidates of a prompt are to the judge, in [0, 1].

    The share of a prompt's facts that hold for one of two candidates and not for the other: mean over
    all pairs of its candidates, then over prompts. None where no prompt has two candidates.
    """
    members: dict[str, list[npt.NDArray[np.bool_]]] = {}
    for candidate in judged:
        members.setdefault(candidate.prompt, []).append(candidate.holds)
    shares = []
    for verdicts in members.values():
        if len(verdicts) > 1:
            true = np.sum(verdicts, axis=0)  # of n candidates, t·(n - t) pairs differ on a fact
            count = len(verdicts)
            shares.append(float(np.mean(true * (count - true)) / (count * (count - 1) / 2)))
    return float(np.mean(shares)) if shares else None


def _kept(folder: Path, judge: ExactJudge, work: Path) -> dict[str, float]:
    """Return the stored figures of an iteration, or judge its candidates; empty without scores."""
    tables = [_shards(folder / name) for name in ("prompts", "candidates", "scores")]
    if not all(table.count for table in tables):
        return {}
    files = [table.data(index) for table in tables for index in range(table.count)]
    digest = hashlib.sha256("".join([FORMAT, *map(sha256_file, files)]).encode())
    path = work / f"feedback-{digest.hexdigest()[:12]}.json"
    if not path.is_file():
        atomic_write(path, to_json(_compare(folder, judge)))
    stored = read_json(path)
    with well_formed(path):
        return {name: float(value) for name, value in stored.items()}


def _compare(folder: Path, judge: ExactJudge) -> dict[str, float]:
    own = {
        (row["prompt_id"], row["candidate"]): row["score"]
        for table in _shards(folder / "scores").tables()
        for row in table.to_pylist()
        if row["status"] == "ok"
    }
    judged, unreadable = _judged(folder, judge)
    scored = [candidate for candidate in judged if (candidate.prompt, candidate.candidate) in own]
    figures = _figures(
        [candidate.prompt for candidate in scored],
        np.array([own[candidate.prompt, candidate.candidate] for candidate in scored]),
        np.array([float(np.mean(candidate.holds)) for candidate in scored]),
        len(judged) - len(scored) + unreadable,
    )
    differ = facts_that_differ(judged)
    return figures if differ is None else {**figures, DIFFER: differ}


def _judged(folder: Path, judge: ExactJudge) -> tuple[list[JudgedCandidate], int]:
    """Judge the candidates of an iteration; also count those of prompts that the judge cannot read."""
    specs = _specs(folder)
    judged: list[JudgedCandidate] = []
    unreadable = 0
    for table in _shards(folder / "candidates").tables(["prompt_id", "candidate", "image"]):
        rows = [row for row in table.to_pylist() if row["prompt_id"] in specs]
        unreadable += table.num_rows - len(rows)
        if not rows:
            continue
        images = np.stack([decode_png(row["image"]) for row in rows])
        verdicts = judge.facts(images, [specs[row["prompt_id"]] for row in rows])
        judged += [
            JudgedCandidate(row["prompt_id"], row["candidate"], verdict)
            for row, verdict in zip(rows, verdicts, strict=True)
        ]
    return judged, unreadable


def _figures(
    prompts: list[str], values: Floats, shares: Floats, left_out: int
) -> dict[str, float]:
    figures = {"feedback_images": float(len(prompts)), "feedback_left_out": float(left_out)}
    if not prompts:
        return figures
    right = shares == 1.0
    if 0 < right.sum() < len(right):
        figures["auc"] = auc(values, right)
    members: dict[str, list[int]] = {}
    for row, prompt in enumerate(prompts):
        members.setdefault(prompt, []).append(row)
    if any(0 < right[rows].sum() < len(rows) for rows in members.values()):
        figures["auc_within_prompt"] = within_group_auc(values, right, prompts)
    groups = list(members.values())
    figures["candidates_facts_mean"] = float(np.mean([shares[g].mean() for g in groups]))
    figures["candidates_facts_best_by_own_score"] = float(
        np.mean([shares[g][np.argmax(values[g])] for g in groups])
    )
    figures["candidates_facts_best_by_judge"] = float(np.mean([shares[g].max() for g in groups]))
    return figures


def _specs(folder: Path) -> dict[str, Spec]:
    """Read the run's prompts back; those that are no captions of this world are left out."""
    specs = {}
    for table in _shards(folder / "prompts").tables(["prompt_id", "prompt"]):
        for row in table.to_pylist():
            try:
                specs[row["prompt_id"]] = parse_caption(row["prompt"])
            except ValueError:  # a prompt from the user's own file, or a slip of the model's
                continue
    return specs


def _shards(folder: Path) -> Shards:
    return Shards(folder, len(list(folder.glob("shard-*.parquet"))))
