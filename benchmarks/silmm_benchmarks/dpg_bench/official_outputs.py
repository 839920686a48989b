"""Writes DPG-Bench's own text reports, which other leaderboards read (docs/spec/benchmarks.md 3.5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from silmm.contracts.benchmarks import Column
from silmm_benchmarks.dpg_bench.rules import image_score

RESULTS, DETAILS = "dpg-bench_results.txt", "dpg-bench_results_detail.txt"
"""Names of the reports; the official names hold the time, and the files are among the images."""


def image_line(path: Path, crops: Sequence[float]) -> str:
    """Return a line of the results: path, one score per crop, their mean."""
    return ", ".join([str(path), *(str(score) for score in crops), str(image_score(crops))])


def detail_lines(path: Path, crop: int, questions: Sequence[str], answers: Sequence[str]) -> list[str]:
    """Return lines of the detail report: path, crop, question, answer."""
    return [
        f"{path}, {crop}, {question}, {answer}"
        for question, answer in zip(questions, answers, strict=True)
    ]


def summary(folder: Path, saved: Path, columns: Sequence[Column]) -> str:
    """Return the end of the results from :meth:`DpgBench.columns`: categories sorted by name, in percent.

    Raises:
        ValueError: no column has a value.
    """
    percents = [(column, 100 * column.value) for column in columns if column.value is not None]
    (_, overall), *categories = percents
    l1 = {column.name.lower(): percent for column, percent in categories if not column.detail}
    l2 = {column.name: percent for column, percent in categories if column.detail}
    return "\n".join([
        f"Model: {folder.name}",
        "L1 category scores:",
        *(f"\t{name}: {l1[name]}" for name in sorted(l1)),
        "L2 category scores:",
        *(f"\t{name}: {l2[name]}" for name in sorted(l2)),
        f"Image path: {folder}",
        f"Save results to: {saved}",
        f"DPG-Bench score: {overall}",
        "",
    ])  # fmt: skip
