"""The self-scores in a report: of all candidates of a sampler, of the best, of the pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

from silmm.rendering.result_table import text_table
from silmm.report.charts import Limits, histogram
from silmm.report.reading import IterationRecord, RunRecord
from silmm.report.sections import Chart, Charts, Paragraph, Section, Table

SPEED_OPTIONS = frozenset({"batch_size"})
"""Sampler options that change no candidate."""


@dataclass(frozen=True)
class ScoreSpread:
    """How the scores of an iteration's candidates are distributed."""

    scores: Sequence[float]
    """Of all candidates that have one."""
    best: Sequence[float]
    """The highest of each prompt."""
    within: float
    """Standard deviation within a prompt, mean over prompts; 0 means that no candidate is better."""

    @classmethod
    def of(cls, iteration: IterationRecord) -> ScoreSpread | None:
        """Return the spread, or None where nothing is scored."""
        by_prompt: dict[str, list[float]] = {}
        for row in iteration.scores:
            if row["score"] is not None:
                by_prompt.setdefault(row["prompt_id"], []).append(row["score"])
        if not by_prompt:
            return None
        return cls(
            [score for scores in by_prompt.values() for score in scores],
            [max(scores) for scores in by_prompt.values()],
            fmean(pstdev(scores) for scores in by_prompt.values()),
        )


def scores(run: RunRecord) -> Section | None:
    """Return the distribution of each iteration's scores under its sampler, and of its pairs' scores."""
    sampler = sampler_label(run.settings)
    charts: list[Chart] = []
    rows: list[list[str]] = []
    for iteration in run.iterations:
        spread = ScoreSpread.of(iteration)
        if spread is None:
            continue
        layers = {"all candidates": spread.scores, "best of each prompt": spread.best}
        title = f"iteration {iteration.number} · {sampler}"
        charts.append(histogram(title, layers, span=score_span(spread.scores), means=True))
        charts += _pair_scores(iteration, spread)
        mean, best = fmean(spread.scores), fmean(spread.best)
        rows.append([
            str(iteration.number), str(len(spread.scores)), f"{mean:+.3f}", f"{best:+.3f}",
            f"{best - mean:+.3f}", f"{spread.within:.3f}",
        ])
    if not charts:
        return None
    names = ("candidates", "mean score", "best of each prompt, mean", "best − mean", "deviation within a prompt")
    explanation = (
        f"Candidates were sampled by {sampler}. Deviation: the standard deviation of a prompt's scores, mean over "
        "prompts; at 0 the model finds no candidate better than another."
    )
    table = text_table(["iteration", *names], rows)
    return Section("Self-scores of the candidates", [Paragraph(explanation), Table(table), Charts(charts)])


def sampler_label(settings: Mapping[str, Any]) -> str:
    """Name the sampler of a run with its options, as `dropdiv (layers last:4, rate 0.1)`."""
    options: Mapping[str, Any] = settings.get("options", {}).get("sampler", {})
    described = ", ".join(f"{k} {v}" for k, v in sorted(options.items()) if k not in SPEED_OPTIONS)
    name = str(settings.get("sampler") or "sampler")
    return f"{name} ({described})" if described else name


def score_span(values: Sequence[float]) -> Limits:
    """Return the range of a histogram: [-1, 1] for scores of Eq. 1, for other scorers the range of the scores."""
    low, high = min(values), max(values)
    if low >= -1 and high <= 1:
        return -1.0, 1.0
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _pair_scores(iteration: IterationRecord, spread: ScoreSpread) -> list[Chart]:
    sides = {
        side: [
            float(row[f"{side}_score"]) for row in iteration.pairs
            if row[f"{side}_score"] is not None and math.isfinite(row[f"{side}_score"])
        ]
        for side in ("chosen", "rejected")
    }
    if not sides["chosen"] or not sides["rejected"]:
        return []
    title = f"iteration {iteration.number} · pairs"
    return [histogram(title, sides, span=score_span(spread.scores), means=True)]
