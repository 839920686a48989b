"""Warns where a run looks over-optimised: in a box of its own, before any figure is believed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from silmm.report.reading import IterationRecord, RunRecord, by_iteration
from silmm.report.sections import Warnings
from silmm.report.training_curves import last_mean

SELF_SCORE = "self-score (Eq. 1)"
"""What a benchmark calls the model's score of its own images of held-out prompts, in `secondary`."""
FALL = 0.02
"""Falls of the held-out score within a training that are taken for noise; scores of Eq. 1 span 2."""
RISE = 0.01
"""Share by which k(H, H_w) may end above the reference's where no `trainer.warn_rise` says."""

GENTLER = "A smaller trainer.learning_rate or fewer steps prevent it."
KEPT = "The adapter holds the weights of the best validation (trainer.keep_best), not those of the last step."


def drift_warnings(run: RunRecord) -> Warnings | None:
    """Return all warnings of over-optimisation."""
    options = run.settings.get("options", {}).get("trainer", {})
    warnings: list[str] = []
    for iteration in run.iterations:
        texts = [
            *_collapse(iteration, options.get("warn_drop")), *_moving_away(iteration, options),
            *_over_optimised(iteration),
        ]
        if texts and options.get("validate_every") and options.get("keep_best"):
            texts[-1] += f" {KEPT}"
        warnings += [f"Iteration {iteration.number}: {text}" for text in texts]
    warnings += _held_out(run)
    return Warnings(warnings) if warnings else None


def _collapse(iteration: IterationRecord, allowed: float | None) -> Iterator[str]:
    """Warn where the chosen ended further down than `trainer.warn_drop`; not all trainers have it."""
    mean = last_mean(iteration.steps, "chosen_logp")
    if allowed is not None and mean and mean[0] < -allowed:
        yield (
            f"the likelihood of the chosen candidates fell by {-mean[0]:.3f} nats per token against the "
            "reference: likelihood collapse begins. A larger trainer.nll_weight, a smaller trainer.learning_rate "
            "or fewer steps prevent it."
        )


def _moving_away(iteration: IterationRecord, options: Mapping[str, object]) -> Iterator[str]:
    """Warn where k(H, H_w) ended further above the reference's than `trainer.warn_rise`; name guards."""
    means = last_mean(iteration.steps, "chosen_distance", "reference_chosen_distance")
    allowed = options.get("warn_rise", RISE)
    if not means or not isinstance(allowed, int | float) or means[0] <= (1.0 + allowed) * means[1]:
        return
    guards = [
        f"a trainer.{name} above {options[name]}" for name in ("reference_weight", "chosen_weight") if name in options
    ]
    if isinstance(options.get("gamma"), int | float):
        guards.append("trainer.gamma=auto")
    remedy = ", ".join([*guards, "a smaller trainer.learning_rate"])
    remedy = remedy[0].upper() + remedy[1:]
    yield (
        f"the policy moves away from the chosen: k(H, H_w) ended at {means[0]:.4g}, the reference's is "
        f"{means[1]:.4g}. {remedy} or fewer steps prevent it."
    )


def _over_optimised(iteration: IterationRecord) -> Iterator[str]:
    """Warn where the margin went on growing while the held-out score in the training log fell."""
    points = _points(iteration.steps)
    if not points:
        return
    first, peak, last = points[0], max(points, key=lambda point: point[1]), points[-1]
    fall = peak[1] - last[1]
    if fall > max(FALL, (peak[1] - first[1]) / 2) and last[2] > peak[2]:
        yield (
            f"the policy drifts: the model's self-score on held-out prompts fell from {peak[1]:+.3f} at step "
            f"{peak[0]:.0f} to {last[1]:+.3f} at step {last[0]:.0f}, while the margin grew from {peak[2]:.3g} to "
            f"{last[2]:.3g}. {GENTLER}"
        )


def _points(steps: Sequence[Mapping[str, float]]) -> list[tuple[float, float, float]]:
    """Return (step, held-out score, margin) of the steps where the score was measured."""
    names = ("step", "validation_score", "margin")
    rows = [tuple(row.get(name, math.nan) for name in names) for row in steps]
    return [(a, b, c) for a, b, c in rows if all(map(math.isfinite, (a, b, c)))]


def _held_out(run: RunRecord) -> Iterator[str]:
    """Warn where the margin grew in training, but the model scores its own images lower afterwards.

    Only falls whose interval is below 0 count.
    """
    summary, margins = run.summary, _margins(run)
    iterations: Mapping[str, Any] = summary.get("secondary_by_iteration", {}).get(SELF_SCORE, {})
    last: Mapping[str, Any] = summary.get("secondary", {}).get(SELF_SCORE, {})
    for name, figures in by_iteration(iterations or {str(max(margins, default=0)): last}).items():
        margin, high = margins.get(int(name)) if name.isdecimal() else None, figures.get("ci_high")
        if margin is not None and margin > 0 and high is not None and high < 0:
            yield (
                f"Iteration {name}: the policy drifts: the margin grew to {margin:.3g} in training, but the "
                f"model's self-score of its images of held-out prompts fell from {figures['before']:+.3f} to "
                f"{figures['after']:+.3f} (95% interval of the difference [{figures['ci_low']:+.3f}, {high:+.3f}]). "
                f"{GENTLER}"
            )


def _margins(run: RunRecord) -> dict[int, float]:
    """Return the margin that the training of each iteration ended with; it starts at 0."""
    ends = {iteration.number: last_mean(iteration.steps, "margin") for iteration in run.iterations}
    return {number: end[0] for number, end in ends.items() if end}
