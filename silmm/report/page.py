"""Puts the page of a report together from its sections."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from silmm.report import gallery, numbers
from silmm.report.diversity import diversity
from silmm.report.drift import drift_warnings
from silmm.report.judge import foreign_judge
from silmm.report.markup import Markup, join, table, tag
from silmm.report.paper import deviations, paper_of
from silmm.report.preferences import preferences
from silmm.report.reading import IterationRecord, RunRecord
from silmm.report.scores import scores
from silmm.report.training import effective_gamma, training

PARTS = ("prompter", "sampler", "questioner", "scorer", "pair_rule", "trainer", "kernel")


def page(run: RunRecord, album: gallery.Album) -> str:
    """Return the whole page as HTML; images that it names are put into `album`."""
    title = f"SILMM run · {run.settings.get('model', 'model')}"
    head = join(
        tag("meta", charset="utf-8"),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(_style())),
    )
    body = tag(
        "main",
        tag("h1", title),
        tag("p", _subtitle(run.settings), class_="soft"),
        foreign_judge(run.settings),
        numbers.headline(run),
        drift_warnings(run),
        numbers.evaluation(run),
        gallery.before_after(run, album),
        numbers.feedback(run),
        training(run),
        scores(run),
        diversity(run),
        numbers.counts(run.iterations),
        [gallery.candidates(iteration, album) for iteration in run.iterations[:1]],
        [preferences(iteration, album) for iteration in _ends(run)],
        _deviations(run),
        _listing("Protocol of the evaluation", run.summary.get("protocol", {})),
        _listing("Settings of the run", {**_flat(run.settings), **_decided(run)}),
    )
    html = tag("html", tag("head", head), tag("body", body), lang="en")
    return f"<!doctype html>\n{html}\n"


def _style() -> str:
    return resources.files("silmm.report").joinpath("style.css").read_text(encoding="utf-8")


def _subtitle(settings: Mapping[str, Any]) -> str:
    named = " · ".join(str(settings[part]) for part in PARTS if settings.get(part))
    rounds = settings.get("iterations", 1)
    return f"{named} · iterations {rounds} · seed {settings.get('seed', '–')}"


def _ends(run: RunRecord) -> list[IterationRecord]:
    """Return the first and the last iteration."""
    return [*run.iterations[:1], *run.iterations[1:][-1:]]


def _deviations(run: RunRecord) -> Markup:
    paper = paper_of(run.continuous)
    found = deviations(run.settings, paper)
    title = tag("h2", "Where this run deviates from the paper")
    if not found:
        return join(title, tag("p", "Nowhere in the settings that the paper states."))
    note = tag("p", f"Against the settings that the paper gives for {paper.of}.", class_="soft")
    rows = [[one.setting, one.paper, one.here, one.reason] for one in found]
    return join(
        title, note, table(["setting", "paper", "here", ""], rows, text=frozenset({0, 3}))
    )


def _decided(run: RunRecord) -> dict[str, str]:
    """Return what a trainer decided by itself: the gamma that gamma=auto came to."""
    found = {iteration.number: effective_gamma(iteration) for iteration in run.iterations}
    return {
        f"trainer: effective gamma, iteration {number}": f"{gamma:.6g}"
        for number, gamma in found.items()
        if gamma is not None
    }


def _listing(title: str, values: Mapping[str, Any]) -> Markup:
    if not values:
        return Markup("")
    rows = [[tag("code", name), tag("code", _text(values[name]))] for name in sorted(values)]
    return join(
        tag("h2", title),
        tag(
            "details",
            tag("summary", f"{len(rows)} entries"),
            table(["name", "value"], rows, text=frozenset({0, 1})),
        ),
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested tables into dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _text(value: object) -> str:
    return "–" if value is None else str(value)
