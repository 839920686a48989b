"""The figures of a report: headline, categories, what stands beside, iterations, feedback, counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from silmm.report.charts import interval_bar, interval_chart
from silmm.report.diversity import FACTS
from silmm.report.markup import Markup, join, table, tag
from silmm.report.reading import IterationRecord, RunRecord, in_turn

NOTHING = Markup("")

FEEDBACK: Mapping[str, str] = {
    "auc": "AUC of the score for \"all facts hold\", over all candidates",
    "auc_within_prompt": "the same within a prompt",
    "feedback_images": "candidates compared",
    "feedback_left_out": "candidates left out (no score, or a prompt that the judge cannot read)",
    "candidates_facts_mean": "facts right: mean of all candidates",
    "candidates_facts_best_by_own_score": "facts right: best of each prompt by own score",
    "candidates_facts_best_by_judge": "facts right: best of each prompt by the judge",
}

COUNTS = frozenset({"feedback_images", "feedback_left_out"})


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
    if summary.get("secondary"):
        parts += [tag("h3", "Beside the headline"), _differences(summary["secondary"], total=False)]
    if len(summary.get("iterations", {})) > 1:
        parts += _rounds(run)
    return join(parts)


def feedback(run: RunRecord) -> Markup:
    """Return how far the run's own scores agree with the judge."""
    extra: Mapping[str, Any] = run.summary.get("extra", {})
    if not extra:
        return NOTHING
    names = [name for name in FEEDBACK if name in extra]
    names += [name for name in extra if name not in FEEDBACK and not name.startswith(FACTS)]
    if not names:
        return NOTHING
    rows = [
        # Counts are stored as numbers like the rest; they read as whole ones.
        [FEEDBACK.get(name, name), f"{extra[name]:.0f}" if name in COUNTS else _plain(extra[name])]
        for name in names
    ]
    return join(tag("h2", "Self-feedback against the judge"), table(["figure", "value"], rows))


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


def _rounds(run: RunRecord) -> list[Markup]:
    """Return the course over the iterations: each one's figures against the base, sampled and in a table."""
    measures = {_metric(run): run.summary["iterations"], **run.summary.get("secondary_by_iteration", {})}
    charts: list[Markup] = []
    rows: dict[str, Mapping[str, Any]] = {}
    for name, by_model in measures.items():
        turns = {int(k): v for k, v in in_turn(by_model).items() if str(k).isdecimal()}
        if not turns:
            continue
        base = float(next(iter(turns.values()))["before"])
        points = [
            (number, base + _nan(one["ci_low"]), float(one["after"]), base + _nan(one["ci_high"]))
            for number, one in turns.items()
        ]
        charts.append(interval_chart(name, base, points))
        rows |= {f"{name}, iteration {number}": one for number, one in turns.items()}
    note = "Whiskers: 95% interval of the paired difference to the base (iteration 0, dashed)."
    return [
        tag("h3", "Each iteration against the base"), tag("div", charts, class_="charts"),
        tag("p", note, class_="soft"), _differences(rows, total=False),
    ]


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


def _nan(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
