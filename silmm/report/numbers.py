"""The figures of a report: headline, categories, what stands beside, training curves, scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from silmm.report.charts import histogram, interval_bar, line_chart
from silmm.report.markup import Markup, join, table, tag
from silmm.report.reading import IterationRecord, RunRecord, in_turn

NOTHING = Markup("")

CURVES: Sequence[tuple[str, Mapping[str, str]]] = (
    ("loss", {"loss": "loss"}),
    ("margin of the implicit reward", {"margin": "margin"}),
    ("accuracy of the implicit reward", {"accuracy": "accuracy"}),
    (
        "log-likelihood against the reference, nats per token",
        {"chosen_logp": "chosen", "rejected_logp": "rejected"},
    ),
    ("KL to the reference, nats per picture", {"kl": "KL"}),
    (
        "kernel distance",
        {"chosen_distance": "to the chosen", "rejected_distance": "to the rejected"},
    ),
    ("gradient norm", {"grad_norm": "norm"}),
    ("learning rate", {"lr": "learning rate"}),
)
"""Charts of the training section: title, and metric name -> name in the legend."""

FEEDBACK: Mapping[str, str] = {
    "auc": "AUC of the score for \"all facts hold\", over all candidates",
    "auc_within_prompt": "the same within a prompt",
    "feedback_pictures": "candidates compared",
    "feedback_left_out": "candidates left out (no score, or a prompt that the judge cannot read)",
    "candidates_facts_mean": "facts right: mean of all candidates",
    "candidates_facts_best_by_own_score": "facts right: best of each prompt by own score",
    "candidates_facts_best_by_judge": "facts right: best of each prompt by the judge",
}


COUNTS = frozenset({"feedback_pictures", "feedback_left_out"})


def headline(run: RunRecord) -> Markup:
    """Return the large figures at the top, or a word that there is no evaluation."""
    overall = run.summary.get("overall")
    if not overall:
        return tag("p", "This run has no evaluation yet.", class_="note")
    figures = [
        _figure(
            f"{overall['before']:.3f} → {overall['after']:.3f}", f"{_metric(run)}, before → after"
        ),
        _figure(signed(overall["diff"]), f"difference, 95% interval {interval(overall)}"),
        _figure(str(overall["n"]), "held-out prompts"),
    ]
    value = run.summary.get("extra", {}).get("auc")
    if value is not None:
        figures.append(_figure(f"{value:.3f}", "AUC of the self-feedback against the judge"))
    return tag("div", figures, class_="headline")


def evaluation(run: RunRecord) -> Markup:
    """Return the tables of the evaluation."""
    summary = run.summary
    if not summary.get("overall"):
        return NOTHING
    parts = [tag("h2", "Before and after"), _partial(run)]
    parts.append(_differences({"overall": summary["overall"], **summary.get("categories", {})}))
    if summary.get("beside"):
        parts += [tag("h3", "Beside the headline"), _differences(summary["beside"], total=False)]
    if len(summary.get("iterations", {})) > 1:
        turns = in_turn(summary["iterations"])
        rounds = {f"iteration {name}": value for name, value in turns.items()}
        parts += [tag("h3", "Each iteration against the base"), _differences(rounds, total=False)]
    return join(parts)


def feedback(run: RunRecord) -> Markup:
    """Return how far the run's own scores agree with the judge."""
    extra: Mapping[str, Any] = run.summary.get("extra", {})
    if not extra:
        return NOTHING
    names = [name for name in FEEDBACK if name in extra]
    names += [name for name in extra if name not in FEEDBACK]
    rows = [
        # Counts are stored as numbers like the rest; they read as whole ones.
        [FEEDBACK.get(name, name), f"{extra[name]:.0f}" if name in COUNTS else _plain(extra[name])]
        for name in names
    ]
    return join(tag("h2", "Self-feedback against the judge"), table(["figure", "value"], rows))


def training(run: RunRecord) -> Markup:
    """Return the training curves of each iteration, with a warning where likelihood collapses."""
    allowed = run.settings.get("options", {}).get("trainer", {}).get("warn_drop")
    parts: list[Markup] = []
    for iteration in run.iterations:
        if iteration.steps:
            parts += [tag("h3", f"Iteration {iteration.number}"), _collapse(iteration, allowed)]
            parts.append(tag("div", _curves(iteration.steps), class_="charts"))
    return join(tag("h2", "Training"), parts) if parts else NOTHING


def scores(iterations: Sequence[IterationRecord]) -> Markup:
    """Return histograms of the model's own scores, and those of chosen and rejected candidates."""
    charts: list[Markup] = []
    for iteration in iterations:
        values = [row["score"] for row in iteration.scores if row["score"] is not None]
        if values:
            label = f"iteration {iteration.number}: all candidates"
            charts.append(histogram(label, {"candidates": values}, span=_span(values)))
        if iteration.pairs:
            sides = {
                "chosen": _some(row["chosen_score"] for row in iteration.pairs),
                "rejected": _some(row["rejected_score"] for row in iteration.pairs),
            }
            if sides["chosen"] and sides["rejected"]:
                label = f"iteration {iteration.number}: pairs"
                charts.append(histogram(label, sides, span=_span([*values, -1.0, 1.0])))
    if not charts:
        return NOTHING
    return join(tag("h2", "The model's own scores"), tag("div", charts, class_="charts"))


def counts(iterations: Sequence[IterationRecord]) -> Markup:
    """Return how much each stage kept and what was thrown away, by reason."""
    rows = []
    for iteration in iterations:
        status: dict[str, int] = {}
        for row in iteration.scores:
            status[row["status"]] = status.get(row["status"], 0) + 1
        rows.append([
            str(iteration.number), str(len(iteration.prompts)), _reasons(iteration.rejected),
            str(len(iteration.scores)), _reasons({k: v for k, v in status.items() if k != "ok"}),
            str(len(iteration.pairs)),
        ])
    head = [
        "iteration", "prompts", "prompts thrown away", "candidates", "candidates without a score",
        "pairs",
    ]
    if not rows:
        return NOTHING
    return join(tag("h2", "What was kept"), table(head, rows, text=frozenset({0, 2, 4})))


def interval(figures: Mapping[str, Any]) -> str:
    """Write the interval of a difference; one prompt has none."""
    low, high = figures.get("ci_low"), figures.get("ci_high")
    return "–" if not finite(low) or not finite(high) else f"[{signed(low)}, {signed(high)}]"


def signed(value: Any) -> str:  # a number or null out of JSON
    """Write a difference with its sign."""
    return f"{value:+.3f}" if finite(value) else "–"


def finite(value: object) -> bool:
    """Say whether a value out of JSON is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def _differences(figures: Mapping[str, Mapping[str, Any]], *, total: bool = True) -> Markup:
    """Return a table of before, after and difference; the first row is the total."""
    ends = [abs(f[k]) for f in figures.values() for k in ("ci_low", "ci_high", "diff")
            if finite(f.get(k))]
    reach = max([*ends, 0.01]) * 1.05
    rows = []
    for index, (name, one) in enumerate(figures.items()):
        low, high = (_nan(one.get(k)) for k in ("ci_low", "ci_high"))
        kind, arrow = ("up", "↑") if low > 0 else ("down", "↓") if high < 0 else ("level", "·")
        cells = [
            tag("td", name), tag("td", f"{one['before']:.3f}"), tag("td", f"{one['after']:.3f}"),
            tag("td", f"{signed(one['diff'])} {arrow}", class_=kind),
            tag("td", interval(one)), tag("td", interval_bar(low, float(one["diff"]), high, reach)),
            tag("td", str(one["n"])),
        ]
        rows.append(tag("tr", cells, class_="total" if total and index == 0 else None))
    names = ["", "before", "after", "difference", "95% interval", "", "n"]
    head = tag("thead", tag("tr", [tag("th", name) for name in names]))
    return tag("div", tag("table", head, tag("tbody", rows)), class_="scroll")


def _curves(steps: Sequence[Mapping[str, float]]) -> list[Markup]:
    charts = []
    for title, names in CURVES:
        series = {
            label: [(row.get("step", 0.0), row[name]) for row in steps if name in row]
            for name, label in names.items()
            if any(name in row for row in steps)
        }
        if len(series) == 1:
            series = {"": next(iter(series.values()))}  # the title says it already
        if series:
            charts.append(line_chart(title, series))
    return charts


def _collapse(iteration: IterationRecord, allowed: float | None) -> Markup:
    """Warn where the chosen ended further down than `trainer.warn_drop`; not all trainers have it."""
    last = _some(row.get("chosen_logp") for row in iteration.steps)[-10:]
    mean = sum(last) / len(last) if last else 0.0
    if allowed is None or mean >= -allowed:
        return NOTHING
    return tag(
        "p",
        f"The likelihood of the chosen candidates fell by {-mean:.3f} nats per token against the "
        "reference: likelihood collapse begins. A larger trainer.nll, a smaller "
        "trainer.learning_rate or fewer steps hold it.",
        class_="note",
    )


def _partial(run: RunRecord) -> Markup:
    if not run.summary.get("partial"):
        return NOTHING
    return tag("p", "Partial run (--limit): these are not benchmark results.", class_="note")


def _figure(value: str, caption: str) -> Markup:
    return tag("div", tag("b", value), tag("span", caption), class_="figure")


def _metric(run: RunRecord) -> str:
    return str(run.summary.get("metric") or "score")


def _reasons(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counted.items())) or "–"


def _plain(value: object) -> str:
    if not isinstance(value, int | float):
        return "–" if value is None else str(value)
    return f"{value:.3f}"


def _some(values: Any) -> list[float]:  # an iterable of numbers or nulls
    return [float(value) for value in values if finite(value)]


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Scores of Eq. 1 lie in [-1, 1]; other scorers' are shown over what they cover."""
    low, high = min(values), max(values)
    if low >= -1 and high <= 1:
        return -1.0, 1.0
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _nan(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
