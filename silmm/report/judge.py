"""Says who answered the questions of a run, where it was not the model itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from silmm.report.markup import Markup, tag


def foreign_judge(settings: Mapping[str, Any]) -> Markup:
    """Return a note that the run learned from another model's answers, or nothing."""
    judge = settings.get("judge_model")
    if not judge:
        return Markup("")
    return tag(
        "p", tag("strong", "No self-improvement. "),
        f"The judge model {judge} answered the questions about the candidates, and {settings.get('model')} "
        "learned from that: what this page calls the model's own scores and answers of candidates and of a "
        "validation are the judge model's. Before and after, the model answers for itself.",
        class_="note",
    )
