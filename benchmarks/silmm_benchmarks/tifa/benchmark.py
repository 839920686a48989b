"""The benchmark TIFA v1.0: captions, questions, two judges, the columns."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.bench.statistics import mean_interval, optional_ends, ratio_interval
from silmm.contracts.benchmarks import Benchmark, Column, FolderImages, ImageFile, Item, JudgedImage, Mode, Request
from silmm.errors import DataError, UsageError
from silmm.storage.sha256_cache import sha256_file
from silmm_benchmarks.benchmark_options import OfficialOptions
from silmm_benchmarks.tifa.image_layout import find_images
from silmm_benchmarks.tifa.official_data import QUESTIONS, TEXTS
from silmm_benchmarks.tifa.questions import SUBSETS, TYPES, load_items
from silmm_benchmarks.tifa.rules import chosen, official_result, question_scores, unmatched

if TYPE_CHECKING:
    Scores = Sequence[tuple[Item, int, Mapping[str, Any]]]

VQA, MATCHER = "vqa", "matcher"


class Tifa(Benchmark):
    """TIFA v1.0 (arXiv 2303.11897): 25,829 questions about 4,081 captions, one image each.

    Numbers are fractions in [0, 1], as the official script prints them; papers give them times 100.
    """

    name = "tifa"
    title = "TIFA v1.0"
    roles: Mapping[str, str] = {VQA: "mplug", MATCHER: "mpnet-match"}
    repairs: Sequence[str] = ()
    """The official arithmetic has no known bug: both modes give the same numbers."""

    def __init__(self, options: OfficialOptions | None = None) -> None:
        """Take the 4,081 official captions, or others where the options say so."""
        self._official = not (options or OfficialOptions()).custom

    def items(self, data: Path, categories: Sequence[str] = ()) -> list[Item]:
        """Read the captions of `data`, those of the subsets `categories` (coco, free-form) or all.

        Raises:
            DataError: a file is missing, malformed or has other counts; names the row.
            UsageError: an unknown subset.
        """
        unknown = set(categories) - set(SUBSETS)
        if unknown:
            raise UsageError(f"tifa has no category {sorted(unknown)[0]!r}; it has {', '.join(SUBSETS)}.")
        items = load_items(data, official=self._official)
        return [item for item in items if not categories or item.category in categories]

    def fingerprint(self, data: Path) -> Mapping[str, str]:
        """Return the sha256 of each file that `items` reads."""
        files = [data] if data.suffix == ".json" else [data / TEXTS, data / QUESTIONS]
        return {file.name: sha256_file(file) for file in files}

    def protocol(self) -> Mapping[str, Any]:
        """Return what else its numbers depend on."""
        return {
            "split": "v1.0" if self._official else "custom",
            "images_per_prompt": 1,
            "seed_rule": "not prescribed; by caption id",
            "aggregation": "mean over captions of the mean over questions; types: mean over questions",
        }

    def find(self, folder: Path, items: Sequence[Item]) -> FolderImages:
        """Match a folder of ``<id>.png`` or a JSON file of id → path with the captions."""
        return find_images(folder, items)

    def target(self, folder: Path, item: Item, index: int) -> Path:
        """Store a generated image as ``<id>.png``."""
        del index
        return folder / f"{item.id}.png"

    def requests(self, item: Item) -> Sequence[Request]:
        """Ask all questions of the caption."""
        return (
            Request(
                VQA,
                tuple(
                    {"text": question["question"], "choices": list(question["choices"])}
                    for question in item.details["questions"]
                ),
            ),
        )

    def follow_up(self, item: Item, answers: Mapping[str, Sequence[Any]]) -> Sequence[Request]:
        """Ask which choice is meant by the free answers that are not literally one."""
        if VQA not in answers:
            return ()
        questions, free = item.details["questions"], answers[VQA]
        queries = tuple(
            {"answer": free[index], "choices": list(questions[index]["choices"])}
            for index in unmatched(questions, free)
        )
        return (Request(MATCHER, queries),) if queries else ()

    def score(self, judged: JudgedImage, mode: Mode) -> Mapping[str, Any]:
        """Return the caption's `score`, the mean of its questions', and `by_type`: {type: [right, asked]}.

        `chosen` holds the choice that each answer stands for, `matched` counts the choices that the matcher gave.
        Empty while a judge's answers are missing.

        Raises:
            DataError: stored answers that do not belong to the caption's questions.
        """
        del mode
        questions = judged.item.details["questions"]
        if VQA not in judged.answers:
            return {}
        answers = list(judged.answers[VQA])
        try:
            if unmatched(questions, answers) and MATCHER not in judged.answers:
                return {}
            choices = chosen(questions, answers, list(judged.answers.get(MATCHER, ())))
        except ValueError as error:
            raise DataError(
                f"tifa: the stored answers about {judged.item.id!r} do not fit its questions ({error}); "
                "judge that image again."
            ) from error
        scores = question_scores(questions, choices)
        by_type: dict[str, list[int]] = {}
        for question, score in zip(questions, scores, strict=True):
            counts = by_type.setdefault(question["element_type"], [0, 0])
            counts[0] += score
            counts[1] += 1
        return {
            "score": statistics.fmean(scores), "by_type": by_type, "chosen": choices,
            "matched": len(unmatched(questions, answers)),
        }

    def columns(self, items: Sequence[Item], scores: Scores, mode: Mode) -> list[Column]:
        """Return the overall score, the twelve types, and as details both for each subset."""
        del items, mode
        result = [self._overall("Overall", scores), *(self._of_type(kind, kind, scores) for kind in TYPES)]
        for subset in SUBSETS:
            part = [row for row in scores if row[0].category == subset]
            if part:
                result.append(self._overall(subset, part, detail=True))
                result += [self._of_type(f"{subset}: {kind}", kind, part, detail=True) for kind in TYPES]
        return result

    def official_files(
        self,
        scored: Sequence[tuple[ImageFile, JudgedImage, Mapping[str, Any]]],
        columns: Sequence[Column],
        folder: Path,
        target: Path,
    ) -> Mapping[str, str]:
        """Return the result file of the official script (docs/spec/benchmarks.md 2.4) as `tifa_result.json`.

        Raises:
            DataError: fewer than two captions have a score; the official script stops there too.
        """
        del columns, folder, target
        rows = [
            row
            for _, judged, scores in scored if "score" in scores
            for row in zip(
                judged.item.details["questions"], judged.answers[VQA], scores["chosen"], strict=True
            )
        ]
        try:
            result = official_result(rows)
        except statistics.StatisticsError as error:
            raise DataError(
                f"tifa: the official result file needs two captions with scores ({error}); the official "
                "script stops there too. Leave --official-files out, or score more captions."
            ) from error
        return {"tifa_result.json": json.dumps(result, indent=2, ensure_ascii=False) + "\n"}

    def _overall(self, name: str, scores: Scores, *, detail: bool = False) -> Column:
        """Average the captions; the official spread over captions (n - 1) stands in the note."""
        means = [row["score"] for _, _, row in scores if "score" in row]
        if not means:
            return Column(name, None, 0, 0, note=self._missing(), detail=detail)
        notes = [f"stdev over captions {statistics.stdev(means):.4f}"] if len(means) > 1 else []
        matched = sum(row.get("matched", 0) for _, _, row in scores if "score" in row)
        notes += [f"{matched} answers were none of the choices and matched to one"] * bool(matched)
        low, high = optional_ends(mean_interval(means))
        value = statistics.fmean(means)
        return Column(name, value, len(means), len(means), low, high, "; ".join(notes), detail)

    def _of_type(self, name: str, kind: str, scores: Scores, *, detail: bool = False) -> Column:
        counts = [row["by_type"][kind] for _, _, row in scores if kind in row.get("by_type", {})]
        if not counts:
            scored = any("score" in row for _, _, row in scores)
            note = "no question of this type" if scored else self._missing()
            return Column(name, None, 0, 0, note=note, detail=detail)
        right, asked = [row[0] for row in counts], [row[1] for row in counts]
        low, high = optional_ends(ratio_interval(right, asked))
        note = f"{sum(asked)} question{'s' * (sum(asked) != 1)}"
        return Column(name, sum(right) / sum(asked), len(counts), len(counts), low, high, note, detail)

    def _missing(self) -> str:
        return " and ".join(f"judge {judge} ({role})" for role, judge in self.roles.items()) + " needed"
