"""The benchmark DPG-Bench: dense prompts, chains of questions, one judge, the columns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.bench.statistics import mean_interval, optional_ends, ratio_interval
from silmm.contracts.benchmarks import Benchmark, Column, FolderImages, ImageFile, Item, JudgedImage, Mode, Request
from silmm.errors import DataError, UsageError
from silmm.storage.sha256_cache import sha256_file
from silmm_benchmarks.benchmark_options import DpgBenchOptions
from silmm_benchmarks.dpg_bench.image_layout import find_images, join_grid
from silmm_benchmarks.dpg_bench.official_data import QUESTIONS
from silmm_benchmarks.dpg_bench.official_outputs import DETAILS, RESULTS, detail_lines, image_line, summary
from silmm_benchmarks.dpg_bench.questions import circular, load_items, read_prompts
from silmm_benchmarks.dpg_bench.rules import (
    LostQuestionError,
    category_crops,
    coarse,
    image_score,
    score_crop,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    Scores = Sequence[tuple[Item, int, Mapping[str, Any]]]

VQA = "vqa"
L1 = ("global", "entity", "attribute", "relation", "other")
"""The five columns of the paper, in its order."""


class DpgBench(Benchmark):
    """DPG-Bench (arXiv 2403.05135): 1,065 dense prompts, four images each in one grid.

    Numbers are fractions of 1; the official script prints percent, and so do its reports here.
    """

    name = "dpg-bench"
    title = "DPG-Bench"
    roles: Mapping[str, str] = {VQA: "mplug"}
    repairs: Sequence[str] = (
        "The first question of the file counts; officially it is skipped, and its prompt drops out "
        "if another question depends on it (partiprompts97: 1,064 of 1,065 prompts).",
        "Categories take the answers about all images of a prompt, unmasked; officially those about the "
        "last image alone.",
    )

    def __init__(self, options: DpgBenchOptions | None = None) -> None:
        """Take the official prompts and grids of four images, or others where the options say so."""
        options = options or DpgBenchOptions()
        self._resolution, self._images, self._official = options.resolution, options.images, not options.custom

    def items(self, data: Path, categories: Sequence[str] = ()) -> list[Item]:
        """Read the prompts with their questions from `data`: a folder with the official files, or one CSV.

        The texts are those of the folder `prompts` where it exists, else those of the table.

        Raises:
            DataError: a file is missing, malformed or has another number of prompts; names the line.
            UsageError: `categories` is not empty; DPG-Bench's categories are of questions, not of prompts.
        """
        if categories:
            raise UsageError("dpg-bench has no categories of prompts to choose from; leave --categories out.")
        items = load_items(self._table(data), official=self._official, images=self._images)
        if not (data / "prompts").is_dir():
            return items
        prompts = read_prompts(data / "prompts")
        apart = sorted(prompts.keys() ^ {item.id for item in items})
        if apart:
            where = "no prompt file" if apart[0] not in prompts else "no question"
            raise DataError(
                f"{data}: {apart[0]!r} has {where} ({len(apart)} ids differ between {QUESTIONS} and "
                "prompts/); fetch both with `silmm data pull dpg-bench`."
            )
        return [replace(item, prompt=prompts[item.id]) for item in items]

    def fingerprint(self, data: Path) -> Mapping[str, str]:
        """Return the sha256 of the table, and one of all prompt files together."""
        table = self._table(data)
        prints = {table.name: sha256_file(table)}
        if (data / "prompts").is_dir():
            total = hashlib.sha256()
            for path in sorted((data / "prompts").glob("*.txt")):
                total.update(f"{sha256_file(path)}  {path.name}\n".encode())
            prints["prompts"] = total.hexdigest()
        return prints

    def protocol(self) -> Mapping[str, Any]:
        """Return what else its numbers depend on."""
        return {
            "split": "official" if self._official else "custom",
            "images_per_prompt": self._images,
            "resolution": self._resolution or "of the files",
            "seed_rule": "not prescribed; by prompt id and image",
            "aggregation": "mean over prompts of the mean over images; categories: mean over questions",
        }

    def find(self, folder: Path, items: Sequence[Item]) -> FolderImages:
        """Match grids ``<item_id>.<ext>`` with the prompts and cut them."""
        return find_images(folder, items, images=self._images, resolution=self._resolution)

    def target(self, folder: Path, item: Item, index: int) -> Path:
        """Store all images of a prompt in one grid, ``<item_id>.png``."""
        del index
        return folder / f"{item.id}.png"

    def join(self, images: Sequence[Image]) -> Image:
        """Make the grid of a prompt's images."""
        return join_grid(images)

    def requests(self, item: Item) -> Sequence[Request]:
        """Ask all questions, those that the official script skips too, so that both modes can score."""
        return (Request(VQA, tuple(question["text"] for question in item.details["questions"])),)

    def score(self, judged: JudgedImage, mode: Mode) -> Mapping[str, Any]:
        """Return one crop's `score` in [0, 1] and `by_category`: {L2: [right, asked]}, unmasked.

        `odd` counts answers that are neither yes nor no. "failed" says why the official script drops the
        prompt; empty while the judge's answers are missing.

        Raises:
            DataError: stored answers that do not belong to the prompt's questions.
        """
        if VQA not in judged.answers:
            return {}
        questions, answers = judged.item.details["questions"], judged.answers[VQA]
        if len(questions) != len(answers):
            raise DataError(
                f"dpg-bench: {len(answers)} stored answers to the {len(questions)} questions of "
                f"{judged.item.id!r}; judge that image again."
            )
        try:
            result = score_crop(questions, answers, mode)
        except LostQuestionError as error:
            return {"failed": str(error)}
        return {
            "score": result.score,
            "by_category": {name: list(counts) for name, counts in result.by_category.items()},
            "odd": sum(answer not in ("yes", "no") for answer in answers),
        }

    def columns(self, items: Sequence[Item], scores: Scores, mode: Mode) -> list[Column]:
        """Return the overall score, the five L1 categories, and as details the L2 categories."""
        prompts = _by_prompt(scores)
        counts = [
            [crops[index]["by_category"] for index in category_crops(len(crops), mode)]
            for crops in prompts.values()
        ]
        fine = sorted({name for crops in counts for by_category in crops for name in by_category})
        names = [*L1, *sorted({coarse(name) for name in fine} - set(L1))]
        columns = [self._overall(items, scores, prompts)]
        for name in names:
            columns.append(self._category(name, counts, {l2 for l2 in fine if coarse(l2) == name}))
        for name in fine:
            columns.append(self._category(name, counts, {name}, detail=True))
        return columns

    def official_files(
        self,
        scored: Sequence[tuple[ImageFile, JudgedImage, Mapping[str, Any]]],
        columns: Sequence[Column],
        folder: Path,
        target: Path,
    ) -> Mapping[str, str]:
        """Return the two text reports of the official script (docs/spec/benchmarks.md 3.5).

        Raises:
            DataError: no prompt has all its images scored.
        """
        wanted = _by_prompt([(judged.item, judged.index, scores) for _, judged, scores in scored])
        if not wanted:
            raise DataError(
                "dpg-bench: no prompt has all its images scored, and the official script stops there too. "
                "Leave --official-files out."
            )
        lines: list[str] = []
        details: list[str] = []
        for image, judged, _ in scored:
            if judged.item.id not in wanted:
                continue
            counted = [
                (question["text"], answer)
                for question, answer in zip(
                    judged.item.details["questions"], judged.answers[VQA], strict=True
                )
                if not question["first_row"]
            ]
            details += detail_lines(image.path, judged.index, *zip(*counted, strict=True))
            if judged.index == 0:
                crops = [crop["score"] for crop in wanted[judged.item.id]]
                lines.append(image_line(image.path, crops))
        end = summary(folder, target / RESULTS, columns)
        return {RESULTS: "\n".join([*lines, end]), DETAILS: "\n".join([*details, ""])}

    def _overall(
        self, items: Sequence[Item], scores: Scores, prompts: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> Column:
        if not prompts:
            return Column("Overall", None, 0, 0, note=self._missing(scores))
        means = [image_score([crop["score"] for crop in crops]) for crops in prompts.values()]
        failed = {item.id: row["failed"] for item, _, row in scores if "failed" in row}
        circles = sum(bool(circular(item.details["questions"])) for item in items)
        odd = sum(crop["odd"] for crops in prompts.values() for crop in crops)
        notes = [f"{item} dropped: {why}" for item, why in failed.items()]
        partly = len({item.id for item, _, row in scores if "score" in row}) - len(prompts)
        notes += [f"{partly} prompts dropped: not all of their images are scored"] * bool(partly)
        notes += [f"{odd} answers neither yes nor no"] * bool(odd)
        notes += [f"{circles} prompts with circular questions"] * bool(circles)
        low, high = optional_ends(mean_interval(means))
        images = sum(len(crops) for crops in prompts.values())
        return Column("Overall", image_score(means), len(means), images, low, high, "; ".join(notes))

    def _category(
        self,
        name: str,
        counts: Sequence[Sequence[Mapping[str, Sequence[int]]]],
        fine: set[str],
        *,
        detail: bool = False,
    ) -> Column:
        """Pool the questions of some L2 categories."""
        title = name if detail else name.capitalize()
        right: list[int] = []
        asked: list[int] = []
        images = 0
        for crops in counts:
            pairs = [[by_category[key] for key in fine if key in by_category] for by_category in crops]
            if any(pairs):
                right.append(sum(pair[0] for crop in pairs for pair in crop))
                asked.append(sum(pair[1] for crop in pairs for pair in crop))
                images += len(crops)
        if not asked:
            note = "no question of this category" if counts else self._missing(())
            return Column(title, None, 0, 0, note=note, detail=detail)
        low, high = optional_ends(ratio_interval(right, asked))
        note = f"{sum(asked)} answer{'s' * (sum(asked) != 1)}"
        return Column(title, sum(right) / sum(asked), len(asked), images, low, high, note, detail)

    def _missing(self, scores: Scores) -> str:
        failed = next((row["failed"] for _, _, row in scores if "failed" in row), "")
        return f"nothing could be scored: {failed}" if failed else f"judge {self.roles[VQA]} ({VQA}) needed"

    def _table(self, data: Path) -> Path:
        return data if data.suffix == ".csv" else data / QUESTIONS


def _by_prompt(scores: Scores) -> dict[str, list[Mapping[str, Any]]]:
    """Return each prompt's crops in order; a prompt whose crops are not all scored is left out."""
    crops: dict[str, dict[int, Mapping[str, Any]]] = {}
    wanted: dict[str, int] = {}
    for item, index, row in scores:
        wanted[item.id] = item.images
        if "score" in row:
            crops.setdefault(item.id, {})[index] = row
    return {
        key: [rows[index] for index in sorted(rows)]
        for key, rows in crops.items()
        if len(rows) == wanted[key]
    }
