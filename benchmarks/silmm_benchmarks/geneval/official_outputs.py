"""The outputs of GenEval's own scripts: JSON lines and the printed summary (docs/spec/geneval.md 2.7)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from silmm.errors import DataError

RESULTS, SUMMARY = "results.jsonl", "summary.txt"

Row = Mapping[str, Any]
"""filename, tag, prompt, correct, reason, metadata, details; the last two are JSON texts."""


def result_lines(rows: Sequence[Row]) -> str:
    """Return the rows as pandas writes them: without spaces, slashes escaped."""
    return "".join(f"{json.dumps(dict(row), separators=(',', ':'))}\n".replace("/", "\\/") for row in rows)


def summary(rows: Sequence[Row]) -> str:
    """Return the output of the official `summary_scores.py`: equal metadata are one prompt,
        tags in order of appearance.

    Raises:
        DataError: there is no row; the official script stops there too.
    """
    if not rows:
        raise DataError("geneval: no image is scored; the official summary fails in this case too.")
    prompts: dict[str, bool] = {}
    tags: dict[str, list[bool]] = {}
    for row in rows:
        correct = bool(row["correct"])
        prompts[row["metadata"]] = prompts.get(row["metadata"], False) or correct
        tags.setdefault(row["tag"], []).append(correct)
    means = {tag: sum(verdicts) / len(verdicts) for tag, verdicts in tags.items()}
    correct_images = sum(bool(row["correct"]) for row in rows)
    return "\n".join([
        "Summary",
        "=======",
        f"Total images: {len(rows)}",
        f"Total prompts: {len(prompts)}",
        f"% correct images: {correct_images / len(rows):.2%}",
        f"% correct prompts: {sum(prompts.values()) / len(prompts):.2%}",
        "",
        "Task breakdown",
        "==============",
        *(f"{tag:<16} = {means[tag]:.2%} ({sum(verdicts)} / {len(verdicts)})" for tag, verdicts in tags.items()),
        "",
        f"Overall score (avg. over tasks): {sum(means.values()) / len(means):.5f}",
        "",
    ])
