"""The images that training learns from: chosen and rejected candidates side by side."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from silmm.report.gallery import Album
from silmm.report.markup import Markup, join, tag
from silmm.report.reading import IterationRecord, Row, group, rows_where

NOTHING = Markup("")
EACH = 2
"""Prompts shown of the widest, the middle and the narrowest gaps."""
PER_SIDE = 10


def preferences(iteration: IterationRecord, album: Album) -> Markup:
    """Show chosen and rejected images of the prompts with the widest, median and narrowest gap."""
    pairs = group([r for r in iteration.pairs if _scored(r)], lambda row: str(row["prompt_id"]))
    labels = _shown({key: _gap(rows) for key, rows in pairs.items()})
    candidate_rows = rows_where(
        iteration.folder / "candidates", "prompt_id", frozenset(labels),
        ["prompt_id", "candidate", "image"],
    )
    if not candidate_rows:
        return NOTHING
    images = {(row["prompt_id"], row["candidate"]): row["image"]["bytes"] for row in candidate_rows}
    texts = {str(row["prompt_id"]): str(row["prompt"]) for row in iteration.prompts}
    parts = [
        tag("h2", f"Chosen and rejected (iteration {iteration.number})"),
        tag(
            "p",
            "Chosen by rule: the prompts whose pairs have the widest, the middle and the narrowest mean "
            f"gap of scores (ties by prompt id), {EACH} of each; at most {PER_SIDE} images a side. "
            "Below each image the model's own score.",
            class_="soft",
        ),
    ]
    for key, label in labels.items():
        sides = [_side(name, key, pairs[key], images, album) for name in ("chosen", "rejected")]
        head = tag(
            "header", tag("q", texts.get(key, key)), tag("span", label, class_="mark"),
            tag("span", f"{len(pairs[key])} pairs", class_="soft"),
        )
        parts.append(tag("div", head, tag("div", sides, class_="sides"), class_="example"))
    return join(parts)


def _scored(row: Row) -> bool:
    return row["chosen_score"] is not None and row["rejected_score"] is not None


def _gap(pairs: Sequence[Row]) -> float:
    return fmean(row["chosen_score"] - row["rejected_score"] for row in pairs)


def _shown(gaps: dict[str, float]) -> dict[str, str]:
    """Return prompt id -> why it is shown, from the gap of each prompt."""
    order = sorted(gaps, key=lambda key: (-gaps[key], key))
    middle = max(0, (len(order) - EACH) // 2)
    picks = {
        "widest gap": order[:EACH],
        "middle gap": order[middle : middle + EACH],
        "narrowest gap": order[-EACH:],
    }
    labels: dict[str, str] = {}
    for why, keys in picks.items():
        for key in keys:
            labels.setdefault(key, f"{why}: {gaps[key]:.3f}")
    return labels


def _side(
    name: str, key: str, pairs: Sequence[Row], images: dict[tuple[str, int], bytes], album: Album
) -> Markup:
    scores = {row[name]: float(row[f"{name}_score"]) for row in pairs}
    best_first = sorted(scores, key=lambda candidate: (-scores[candidate], candidate))
    figures = [
        tag(
            "figure",
            tag("img", src=album.place(images[key, c]), alt=f"{name}, candidate {c}", loading="lazy"),
            tag("figcaption", f"{scores[c]:+.3f}"),
            class_="image",
        )
        for c in best_first
        if (key, c) in images
    ][:PER_SIDE]
    return tag("div", tag("h4", name), tag("div", figures, class_="images"), class_="side")
