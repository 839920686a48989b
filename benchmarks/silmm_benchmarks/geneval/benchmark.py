"""The benchmark GenEval: prompts with clauses, a detector, colours of its objects, six tags and their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from silmm.contracts.benchmarks import Benchmark, Column, FolderImages, ImageFile, Item, JudgedImage, Mode, Request
from silmm.contracts.judges import Detections
from silmm.errors import DataError, UsageError
from silmm.storage.sha256_cache import sha256_file
from silmm.suggestions import did_you_mean
from silmm_benchmarks.benchmark_options import GenEvalOptions
from silmm_benchmarks.geneval.columns import CORRECT, MISSING, REASON, all_columns
from silmm_benchmarks.geneval.image_layout import STRAY, find_images, image_path, metadata_file
from silmm_benchmarks.geneval.official_data import METADATA
from silmm_benchmarks.geneval.official_outputs import RESULTS, SUMMARY, result_lines, summary
from silmm_benchmarks.geneval.prompts import CLASSES, RENAMED, categories_of, load_items, metadata_text
from silmm_benchmarks.geneval.rules import (
    ClassObjects,
    Thresholds,
    colour_clauses,
    details_text,
    evaluate,
    kept_objects,
)

DETECTOR, COLOURS = "detector", "colours"
FIRST_SEED = 42


class GenEval(Benchmark):
    """GenEval (arXiv 2310.11513): 553 prompts of six tags, four images each."""

    name = "geneval"
    title = "GenEval"
    roles: Mapping[str, str] = {DETECTOR: "mask2former", COLOURS: "clip-l14"}
    repairs: Sequence[str] = (
        "Of objects with equal scores the detector's first comes first; officially its last.",
        "A tag whose images are not all scored has no number; officially the mean is taken over what is there.",
        "Prompts are told apart by their line; officially two lines with equal metadata are one prompt.",
        "Overlaps are computed in double precision; officially differences of corners are rounded to single.",
        "Files whose name only begins as an image's (0000.png.bak) do not count; officially they are scored.",
        "Details show the overall score of each of a prompt's images, so how it spreads over seeds.",
    )

    def __init__(self, options: GenEvalOptions | None = None) -> None:
        """Take the official thresholds and prompts, or others where the options say so."""
        self._options = options or GenEvalOptions()
        self._thresholds = Thresholds(**self._options.model_dump(include=set(Thresholds.__dataclass_fields__)))

    def items(self, data: Path, categories: Sequence[str] = ()) -> list[Item]:
        """Read the prompts of `data` (its folder, or a .jsonl file), of the given tags or all, in official order.

        Raises:
            DataError: the file is missing, malformed or has other numbers of prompts; names the line.
            UsageError: an unknown tag.
        """
        items = load_items(_file(data), official=not self._options.custom, images=self._options.images)
        tags = categories_of(items)
        for category in categories:
            if category not in tags:
                raise UsageError(
                    f"geneval has no category {category!r}{did_you_mean(category, tags)} It has {', '.join(tags)}."
                )
        return [item for item in items if not categories or item.category in categories]

    def fingerprint(self, data: Path) -> Mapping[str, str]:
        """Return the sha256 of the file of prompts; rewritten prompts have another one."""
        path = _file(data)
        return {path.name: sha256_file(path)}

    def protocol(self) -> Mapping[str, Any]:
        """Return what else its numbers depend on."""
        return {
            "split": "custom" if self._options.custom else "official",
            "images_per_prompt": self._options.images,
            "seed_rule": f"{FIRST_SEED} + n for image n of every prompt (officially one stream from {FIRST_SEED})",
            "aggregation": "mean over images of each tag; Overall: unweighted mean of the tags",
            "thresholds": asdict(self._thresholds),
        }

    def find(self, folder: Path, items: Sequence[Item]) -> FolderImages:
        """Match numbered folders with the items, see :func:`.image_layout.find_images`."""
        return find_images(folder, items)

    def target(self, folder: Path, item: Item, index: int) -> Path:
        """Return `<folder>/<item id>/samples/<5 digits>.png`."""
        return image_path(folder, item, index)

    def accompanying_files(self, folder: Path, item: Item) -> Mapping[Path, str]:
        """Return the `metadata.jsonl` that the official evaluator reads beside an item's images."""
        path, text = metadata_file(folder, item)
        return {path: text}

    def seed(self, item: Item, index: int) -> int:  # noqa: ARG002  # the same seeds for every prompt
        """Return 42 + index: the official sampler begins each prompt with seed 42."""
        return FIRST_SEED + index

    def requests(self, item: Item) -> Sequence[Request]:
        """Ask for the objects of each image; the questions about their colours follow from them."""
        return (Request(DETECTOR), Request(COLOURS)) if _asks_colours(item) else (Request(DETECTOR),)

    def follow_up(self, item: Item, answers: Mapping[str, Sequence[Any]]) -> Sequence[Request]:
        """Ask for the colours of the objects that a clause with a colour takes, in either mode."""
        if DETECTOR not in answers or not _asks_colours(item):
            return ()
        detections = answers[DETECTOR][0]
        frame = [int(side) for side in detections.frame]
        queries = tuple(
            {
                "label": name,
                "box": [float(edge) for edge in detections.boxes[row]],
                "frame": frame,
                "mask": detections.masks[row] if detections.masks else "",
            }
            for name, row in self._coloured(item, detections)
        )
        return (Request(COLOURS, queries),) if queries else ()

    def score(self, judged: JudgedImage, mode: Mode) -> Mapping[str, Any]:
        """Return `correct` and `reason` of one image, or `missing`: the role that its prompt needs.

        "failed" says why an image does not count in mode `fixed`: its name is no image's.

        Raises:
            DataError: stored answers that do not belong to the image's objects.
        """
        item, answers = judged.item, judged.answers
        if mode is Mode.FIXED and judged.index >= STRAY:
            return {"failed": "its name only begins as an image's"}
        if DETECTOR not in answers:
            return {MISSING: DETECTOR}
        detections = answers[DETECTOR][0]
        coloured = self._coloured(item, detections) if _asks_colours(item) else []
        if coloured and COLOURS not in answers:
            return {MISSING: COLOURS}
        colours = answers.get(COLOURS, ())
        if len(colours) != len(coloured):
            raise DataError(
                f"geneval: {len(colours)} stored colours of {len(coloured)} objects of {item.id!r}; judge that "
                "image again."
            )
        colour_of = dict(zip(coloured, colours, strict=True))
        rows_of = _rows_by_class(detections)
        verdict = evaluate(
            item.details["metadata"],
            self._objects(item, detections, mode),
            lambda name, source: [colour_of[name, rows_of[name][position]] for position in source],
            self._thresholds.position_threshold,
        )
        return {CORRECT: verdict.correct, REASON: verdict.reason}

    def columns(
        self, items: Sequence[Item], scores: Sequence[tuple[Item, int, Mapping[str, Any]]], mode: Mode
    ) -> list[Column]:
        """Return the mean of the tags, the tags, and details; see :func:`.columns.all_columns`."""
        return all_columns(items, scores, self.roles, mode)

    def official_files(
        self,
        scored: Sequence[tuple[ImageFile, JudgedImage, Mapping[str, Any]]],
        columns: Sequence[Column],
        folder: Path,
        target: Path,
    ) -> Mapping[str, str]:
        """Return the evaluator's JSON lines and the summary's text.

        Raises:
            DataError: no image is scored.
        """
        del columns, folder, target
        rows = [
            {
                "filename": str(image.path),
                "tag": judged.item.category,
                "prompt": judged.item.prompt,
                "correct": bool(numbers[CORRECT]),
                "reason": numbers[REASON],
                "metadata": metadata_text(judged.item.details["metadata"]),
                "details": details_text(self._objects(judged.item, judged.answers[DETECTOR][0], Mode.OFFICIAL)),
            }
            for image, judged, numbers in scored
            if CORRECT in numbers
        ]
        return {SUMMARY: summary(rows), RESULTS: result_lines(rows)}

    def _objects(self, item: Item, detections: Detections, mode: Mode) -> dict[str, ClassObjects]:
        """Return the objects that count, by class in official order."""
        rows = np.concatenate([detections.boxes, detections.scores[:, None]], axis=1).astype(np.float32)
        objects = {
            name: kept_objects(rows[numbers], item.category, self._thresholds, mode)
            for name, numbers in _rows_by_class(detections).items()
        }
        return {name: kept for name, kept in objects.items() if kept.source}

    def _coloured(self, item: Item, detections: Detections) -> list[tuple[str, int]]:
        """Return class and row of each object whose colour some mode needs, each once."""
        rows_of = _rows_by_class(detections)
        return list(dict.fromkeys(
            (name, rows_of[name][position])
            for mode in Mode
            for name, source in colour_clauses(item.details["metadata"], self._objects(item, detections, mode))
            for position in source
        ))


def _file(data: Path) -> Path:
    return data if data.suffix == ".jsonl" else data / METADATA


def _asks_colours(item: Item) -> bool:
    return any("color" in clause for clause in item.details["metadata"].get("include", ()))


def _rows_by_class(detections: Detections) -> dict[str, list[int]]:
    """Return the detector's rows of each class that it found, classes in official order."""
    names = [RENAMED.get(label, label) for label in detections.labels]
    rows_of: dict[str, list[int]] = {name: [] for name in CLASSES if name in names}
    for row, name in enumerate(names):
        if name in rows_of:
            rows_of[name].append(row)
    return rows_of
