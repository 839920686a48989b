"""Puts the page of a report together from its sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from silmm.rendering.html_pages import render_page
from silmm.rendering.result_table import NONE, Cell, text_table
from silmm.report import evaluation, gallery
from silmm.report.diversity import diversity
from silmm.report.drift import drift_warnings
from silmm.report.paper import deviations, paper_of
from silmm.report.reading import IterationRecord, RunRecord
from silmm.report.scores import scores
from silmm.report.sections import Block, Paragraph, Section, Table
from silmm.report.training_curves import effective_gamma, training

COMPONENTS = ("prompter", "sampler", "questioner", "scorer", "pair_rule", "trainer", "kernel")


def page(run: RunRecord, album: gallery.Album) -> str:
    """Return the whole page as HTML; images that it names are put into `album`."""
    title = f"SILMM run · {run.settings.get('model', 'model')}"
    sections = [section for section in _sections(run, album) if section is not None]
    return render_page("silmm.report", "report.html", title=title, sections=sections)


def _sections(run: RunRecord, album: gallery.Album) -> Iterator[Section | None]:
    top: list[Block | None] = [
        Paragraph(_subtitle(run.settings)), _judge_note(run.settings), evaluation.headline(run), drift_warnings(run),
    ]
    yield Section("", [block for block in top if block is not None])
    yield evaluation.evaluation(run)
    yield gallery.before_after(run, album)
    yield evaluation.feedback(run)
    yield training(run)
    yield scores(run)
    yield diversity(run)
    yield evaluation.counts(run.iterations)
    yield from (gallery.candidates(iteration, album) for iteration in run.iterations[:1])
    yield from (gallery.preferences(iteration, album) for iteration in _first_and_last(run))
    yield _deviations(run)
    yield _listing("Protocol of the evaluation", run.summary.get("protocol", {}))
    yield _listing("Settings of the run", {**_flat(run.settings), **_effective_settings(run)})


def _subtitle(settings: Mapping[str, Any]) -> str:
    named = " · ".join(str(settings[name]) for name in COMPONENTS if settings.get(name))
    return f"{named} · iterations {settings.get('iterations', 1)} · seed {settings.get('seed', NONE)}"


def _judge_note(settings: Mapping[str, Any]) -> Paragraph | None:
    """Return a note that the run learned from another model's answers, where it did."""
    judge = settings.get("judge_model")
    if not judge:
        return None
    text = (
        f"The judge model {judge} answered the questions about the candidates, and {settings.get('model')} learned "
        "from that: self-scores and answers of candidates and of a validation on this page are the judge model's. "
        "Before and after, the model answers for itself."
    )
    return Paragraph(text, "note", lead="No self-improvement.")


def _first_and_last(run: RunRecord) -> list[IterationRecord]:
    return [*run.iterations[:1], *run.iterations[1:][-1:]]


def _deviations(run: RunRecord) -> Section:
    paper = paper_of(run.continuous)
    differing = deviations(run.settings, paper)
    title = "Where this run deviates from the paper"
    if not differing:
        return Section(title, [Paragraph("Nowhere in the settings that the paper states.", "")])
    rows = [[deviation.setting, deviation.paper, deviation.here, deviation.reason] for deviation in differing]
    note = Paragraph(f"Compared with the settings that the paper gives for {paper.model}.")
    return Section(title, [note, Table(text_table(["setting", "paper", "here", ""], rows, left=(0, 3)))])


def _effective_settings(run: RunRecord) -> dict[str, str]:
    """Return what a trainer decided by itself: the number that gamma=auto came to."""
    gammas = {iteration.number: effective_gamma(iteration) for iteration in run.iterations}
    return {
        f"trainer: effective gamma, iteration {number}": f"{gamma:.6g}"
        for number, gamma in gammas.items() if gamma is not None
    }


def _listing(title: str, values: Mapping[str, Any]) -> Section | None:
    if not values:
        return None
    texts = {name: NONE if value is None else str(value) for name, value in values.items()}
    rows = [[Cell(name, tone="code"), Cell(texts[name], tone="code")] for name in sorted(texts)]
    return Section(title, [Table(text_table(["name", "value"], rows, left=(0, 1)), summary=f"{len(rows)} entries")])


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested tables into dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
