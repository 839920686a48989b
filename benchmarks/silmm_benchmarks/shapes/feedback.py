"""How far the run's own scores agree with the exact judge, on the run's own candidates."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from silmm.statistics import auc, within_group_auc
from silmm.store import Shards, atomic_write, read_json, sha256_file, to_json, well_formed
from silmm.tables import decode_png
from silmm_benchmarks.shapes.language import Spec, parse_caption

if TYPE_CHECKING:
    from silmm_benchmarks.shapes.judge import Judge

Floats = npt.NDArray[np.float64]


def self_feedback(run: Path, judge: Judge, work: Path) -> dict[str, float]:
    """Compare the scores of the first iteration with "all facts hold" by the judge.

    Only the base model has drawn and scored then. Candidates without a score and prompts that are
    not captions of this world are left out and counted.

    Returns:
        `auc` over all pictures and `auc_within_prompt` (each only where it is defined), the numbers
        of pictures that were used and left out, and the mean share of right facts of all
        candidates, of the best of each prompt by own score and of the best by the judge. Empty
        without scores.
    """
    folder = run / "iter-1"
    tables = [_shards(folder / name) for name in ("prompts", "candidates", "scores")]
    if not all(table.count for table in tables):
        return {}
    files = [table.data(index) for table in tables for index in range(table.count)]
    digest = hashlib.sha256("".join(sha256_file(file) for file in files).encode())
    path = work / f"feedback-{digest.hexdigest()[:12]}.json"
    if not path.is_file():
        atomic_write(path, to_json(_compare(folder, judge)))
    stored = read_json(path)
    with well_formed(path):
        return {name: float(value) for name, value in stored.items()}


def _compare(folder: Path, judge: Judge) -> dict[str, float]:
    own = {
        (row["prompt_id"], row["candidate"]): row["score"]
        for table in _shards(folder / "scores").tables()
        for row in table.to_pylist()
        if row["status"] == "ok"
    }
    specs = _specs(folder)
    prompts: list[str] = []
    values: list[float] = []
    shares: list[float] = []
    left_out = 0
    for table in _shards(folder / "candidates").tables(["prompt_id", "candidate", "image"]):
        rows = [
            row
            for row in table.to_pylist()
            if row["prompt_id"] in specs and (row["prompt_id"], row["candidate"]) in own
        ]
        left_out += table.num_rows - len(rows)
        if not rows:
            continue
        images = np.stack([decode_png(row["image"]) for row in rows])
        verdicts = judge.facts(images, [specs[row["prompt_id"]] for row in rows])
        for row, verdict in zip(rows, verdicts, strict=True):
            prompts.append(row["prompt_id"])
            values.append(own[row["prompt_id"], row["candidate"]])
            shares.append(float(np.mean(verdict)))
    return _figures(prompts, np.array(values), np.array(shares), left_out)


def _figures(
    prompts: list[str], values: Floats, shares: Floats, left_out: int
) -> dict[str, float]:
    figures = {"feedback_pictures": float(len(prompts)), "feedback_left_out": float(left_out)}
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
