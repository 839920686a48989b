"""The model's own scores in a report: of all candidates of a sampler, of the best, of the pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

from silmm.report.charts import histogram
from silmm.report.markup import Markup, join, table, tag
from silmm.report.reading import IterationRecord, RunRecord

NOTHING = Markup("")
NO_CHOICE = frozenset({"batch_size"})
"""Sampler options that change no candidate."""


@dataclass(frozen=True)
class Spread:
    """How the scores of an iteration's candidates lie."""

    scores: Sequence[float]
    """Of all candidates that have one."""
    best: Sequence[float]
    """The highest of each prompt."""
    within: float
    """Standard deviation within a prompt, mean over prompts; 0 means that no candidate is better."""

    @classmethod
    def of(cls, iteration: IterationRecord) -> Spread | None:
        """Return the spread, or None where nothing is scored."""
        prompts: dict[str, list[float]] = {}
        for row in iteration.scores:
            if row["score"] is not None:
                prompts.setdefault(row["prompt_id"], []).append(row["score"])
        if not prompts:
            return None
        return cls(
            [score for scores in prompts.values() for score in scores],
            [max(scores) for scores in prompts.values()],
            fmean(pstdev(scores) for scores in prompts.values()),
        )


def scores(run: RunRecord) -> Markup:
    """Return, of each iteration, the distribution of scores under its sampler, and of the pairs'."""
    label = sampler_label(run.settings)
    charts: list[Markup] = []
    rows: list[list[str]] = []
    for iteration in run.iterations:
        spread = Spread.of(iteration)
        if spread is None:
            continue
        name = f"iteration {iteration.number}"
        layers = {"all candidates": spread.scores, "best of each prompt": spread.best}
        charts.append(
            histogram(f"{name} · {label}", layers, span=score_span(spread.scores), means=True)
        )
        charts += _of_pairs(iteration, spread)
        mean, best = fmean(spread.scores), fmean(spread.best)
        rows.append([
            str(iteration.number), str(len(spread.scores)), f"{mean:+.3f}", f"{best:+.3f}",
            f"{best - mean:+.3f}", f"{spread.within:.3f}",
        ])
    if not charts:
        return NOTHING
    head = [
        "iteration", "candidates", "mean score", "best of each prompt, mean", "best − mean",
        "deviation within a prompt",
    ]
    return join(
        tag("h2", "The model's own scores"),
        tag(
            "p",
            f"Of candidates sampled by {label}. Deviation: the standard deviation of a prompt's scores, mean "
            "over prompts; at 0 the model finds no candidate better than another.",
            class_="soft",
        ),
        table(head, rows),
        tag("div", charts, class_="charts"),
    )


def sampler_label(settings: Mapping[str, Any]) -> str:
    """Name the sampler of a run with its options, as `dropdiv (layers last:4, rate 0.1)`."""
    options: Mapping[str, Any] = settings.get("options", {}).get("sampler", {})
    told = ", ".join(f"{k} {v}" for k, v in sorted(options.items()) if k not in NO_CHOICE)
    name = str(settings.get("sampler") or "sampler")
    return f"{name} ({told})" if told else name


def score_span(values: Sequence[float]) -> tuple[float, float]:
    """Scores of Eq. 1 lie in [-1, 1]; other scorers' are shown over what they cover."""
    low, high = min(values), max(values)
    if low >= -1 and high <= 1:
        return -1.0, 1.0
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _of_pairs(iteration: IterationRecord, spread: Spread) -> list[Markup]:
    sides = {
        side: [
            float(row[f"{side}_score"])
            for row in iteration.pairs
            if row[f"{side}_score"] is not None and math.isfinite(row[f"{side}_score"])
        ]
        for side in ("chosen", "rejected")
    }
    if not sides["chosen"] or not sides["rejected"]:
        return []
    title = f"iteration {iteration.number} · pairs"
    return [histogram(title, sides, span=score_span(spread.scores), means=True)]
