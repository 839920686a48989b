"""The training in a report: curves of each iteration, and kernel distances before and after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from silmm.rendering.result_table import NONE, text_table
from silmm.report.charts import line_chart
from silmm.report.reading import IterationRecord, RunRecord
from silmm.report.sections import Block, Chart, Charts, Heading, Paragraph, Section, Table

LAST = 10
"""Steps whose mean stands for the end of a training; a single batch says little."""
SIDES: Mapping[str, str] = {"chosen": "k(H, H_w), to the chosen", "rejected": "k(H, H_l), to the rejected"}
DISTANCE_OPTIONS: Sequence[str] = ("gamma", "gamma_scale", "chosen_weight", "beta", "sigma")
"""Options of trainers of distances that are named above the table of distances."""

CURVES: Sequence[tuple[str, Mapping[str, str], float | None]] = (
    ("loss", {"loss": "loss"}, None),
    ("margin of the implicit reward", {"margin": "margin"}, 0.0),
    ("accuracy of the implicit reward", {"accuracy": "accuracy"}, None),
    (
        "log-likelihood against the reference, nats per token",
        {"chosen_logp": "chosen", "rejected_logp": "rejected"},
        0.0,
    ),
    ("KL to the reference, nats per image", {"kl": "KL"}, 0.0),
    ("self-score of the sampled images", {"score": "mean", "score_spread": "deviation within a prompt"}, None),
    ("KL to the reference, nats per token", {"token_kl": "KL"}, 0.0),
    (
        "kernel distance over the reference's (1 is the reference)",
        {"chosen_relative": SIDES["chosen"], "rejected_relative": SIDES["rejected"]},
        1.0,
    ),
    ("drift k(H, H_r): kernel distance to the reference", {"drift": "drift"}, 0.0),
    ("self-score on held-out prompts", {"validation_score": "score"}, None),
    ("gradient norm", {"grad_norm": "norm"}, None),
    ("learning rate", {"lr": "learning rate"}, None),
)
"""Charts of the section: title, metric name -> name in the legend, and what to compare with."""


def training(run: RunRecord) -> Section | None:
    """Return the training curves of each iteration, with the distances of a continuous model."""
    blocks: list[Block] = []
    for iteration in run.iterations:
        if iteration.steps:
            blocks += [Heading(f"Iteration {iteration.number}"), *_distances(run, iteration)]
            blocks.append(Charts(_curves(iteration.steps)))
    return Section("Training", blocks) if blocks else None


def last_mean(steps: Sequence[Mapping[str, float]], *names: str) -> tuple[float, ...] | None:
    """Return the means of metrics over the last `LAST` steps that have all of them as finite numbers."""
    rows = [row for row in steps if all(math.isfinite(row.get(name, math.nan)) for name in names)]
    if not rows:
        return None
    return tuple(fmean(row[name] for row in rows[-LAST:]) for name in names)


def effective_gamma(iteration: IterationRecord) -> float | None:
    """Return the gamma that an iteration was trained with, where its trainer has one."""
    means = last_mean(iteration.steps[-1:], "gamma_eff")
    return means[0] if means else None


def _distances(run: RunRecord, iteration: IterationRecord) -> list[Block]:
    """Return the table of kernel distances before and after, with the options that they were trained with."""
    rows = []
    for side, label in SIDES.items():
        means = last_mean(iteration.steps, f"reference_{side}_distance", f"{side}_distance")
        if means:
            before, after = means
            share = f"{after / before:.3f}" if before > 0 else NONE
            rows.append([label, f"{before:.4g}", f"{after:.4g}", share])
    if not rows:
        return []
    drift = last_mean(iteration.steps, "drift")
    if drift:
        rows.append(["k(H, H_r), to the reference", "0", f"{drift[0]:.4g}", NONE])
    options: Mapping[str, object] = run.settings.get("options", {}).get("trainer", {})
    described = [f"kernel {run.settings.get('kernel') or 'of the trainer itself'}"]
    described += [f"{name} {options[name]}" for name in DISTANCE_OPTIONS if name in options]
    gamma = effective_gamma(iteration)
    if gamma is not None:
        described.append(f"effective gamma {gamma:.4g}")
    columns = ["kernel distance", "before (the reference)", "after", "after / before"]
    note = (
        f"Means over the pairs of the last {min(LAST, len(iteration.steps))} steps, of both models on the same "
        "prompts."
    )
    return [Paragraph(" · ".join(described)), Table(text_table(columns, rows)), Paragraph(note)]


def _curves(steps: Sequence[Mapping[str, float]]) -> list[Chart]:
    steps = [{**row, **_relative(row)} for row in steps]
    charts = []
    for title, names, level in CURVES:
        series = {
            label: [(row.get("step", 0.0), row[name]) for row in steps if name in row]
            for name, label in names.items()
            if any(name in row for row in steps)
        }
        if len(series) == 1:
            series = {"": next(iter(series.values()))}  # the title names it already
        if series:
            charts.append(line_chart(title, series, level=level))
    return charts


def _relative(row: Mapping[str, float]) -> dict[str, float]:
    """Return the distances of a step over the reference's: kernels' scales differ by factors of 10,000."""
    relative = {}
    for side in SIDES:
        before, after = row.get(f"reference_{side}_distance"), row.get(f"{side}_distance")
        if before is not None and after is not None:
            relative[f"{side}_relative"] = after / before if before > 0 else math.nan
    return relative
