"""The benchmark T2I-CompBench++: 2,400 prompts in eight categories, five judges, ten columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from silmm.contracts.benchmarks import Benchmark, Column, FolderImages, ImageFile, Item, JudgedImage, Mode, Request
from silmm.errors import UsageError
from silmm.storage.sha256_cache import sha256_file
from silmm.suggestions import did_you_mean
from silmm_benchmarks.benchmark_options import OfficialOptions
from silmm_benchmarks.t2i_compbench.columns import all_columns
from silmm_benchmarks.t2i_compbench.image_layout import find_images, image_path, number_of
from silmm_benchmarks.t2i_compbench.official_outputs import category_files
from silmm_benchmarks.t2i_compbench.prompts.prompt_files import CATEGORIES, IMAGES, files_read, load_items
from silmm_benchmarks.t2i_compbench.prompts.prompt_parser import Parser
from silmm_benchmarks.t2i_compbench.rules.image_scores import (
    CLIP,
    DEPTH,
    DETECTOR,
    DETECTOR_2D,
    SCORE,
    YES_NO,
    requests_of,
    score_image,
)

FIRST_SEED = 42
"""Image n of every prompt is sampled with seed 42 + n, the same ten seeds for all."""


class T2ICompBench(Benchmark):
    """T2I-CompBench++ (arXiv 2307.06350): eight categories of 300 prompts, ten images each."""

    name = "t2i-compbench"
    title = "T2I-CompBench++"
    headline = ""
    roles: Mapping[str, str] = {
        YES_NO: "blip-vqa",
        CLIP: "clip-vit-b-32",
        DETECTOR_2D: "unidet-rs200",
        DETECTOR: "unidet-r50",
        DEPTH: "dpt-hybrid",
    }
    repairs: Sequence[str] = (
        "Depth maps are cropped with x for columns and y for rows; the official script swaps them.",
        '"on top of" is judged like "on the top of"; officially it has no rule and is 0.',
        "Objects are found by the names that a label lists and by a few synonyms (sofa, phone, table, bag, "
        "decoding, computer, turtle); officially by the whole label (2D) or any part of it (3D, numeracy): "
        '"cow" misses "cattle, cow" and "car" finds "carrot".',
    )

    def __init__(self, options: OfficialOptions | None = None) -> None:
        """Take the 2,400 official prompts, or others where the options say so."""
        self._official = not (options or OfficialOptions()).custom
        self._parser = Parser()

    def items(self, data: Path, categories: Sequence[str] = ()) -> list[Item]:
        """Read the prompts of `data`, all or those of `categories`, in the official order.

        Raises:
            DataError: a file is missing, malformed or of another length; names the line.
            UsageError: an unknown category; prompts without a row in the parse table, and no spaCy.
        """
        for category in categories:
            if category not in CATEGORIES:
                raise UsageError(
                    f"t2i-compbench has no category {category!r}{did_you_mean(category, CATEGORIES)} "
                    f"It has {', '.join(CATEGORIES)}."
                )
        chosen = [category for category in CATEGORIES if not categories or category in categories]
        if not self._official and not categories:
            chosen = [category for category in chosen if (data / files_read(category)[0]).is_file()]
        return [
            item
            for category in chosen or CATEGORIES
            for item in load_items(data, category, self._parser, official=self._official)
        ]

    def fingerprint(self, data: Path) -> Mapping[str, str]:
        """Return the sha256 of each file in `data` that `items` reads for some category."""
        names = [name for category in CATEGORIES for name in files_read(category)]
        return {name: sha256_file(data / name) for name in names if (data / name).is_file()}

    def protocol(self) -> Mapping[str, Any]:
        """Return what else the numbers depend on; the parser is known once `items` has read the prompts."""
        return {
            "split": "val" if self._official else "custom",
            "images_per_prompt": IMAGES,
            "seed_rule": f"{FIRST_SEED} + n for image n of every prompt",
            "parser": self._parser.identity,
            "aggregation": "mean over images; Attribute and Layout: mean of three categories",
            "complex": "3-in-1: attribute with spatial, CLIP or both, by the official prompt lists",
        }

    def find(self, folder: Path, items: Sequence[Item]) -> FolderImages:
        """Match images called `<prompt>_<index>.png` with the items; see :func:`.layout.find_images`.

        Raises:
            DataError: the folder does not exist or cannot be read.
        """
        return find_images(folder, items)

    def target(self, folder: Path, item: Item, index: int) -> Path:
        """Return `<folder>/<category>/samples/<prompt>_<number>.png`."""
        return image_path(folder, item, index)

    def seed(self, item: Item, index: int) -> int:  # noqa: ARG002  # the same ten seeds for every prompt
        """Return 42 + index, as the official sampler does."""
        return FIRST_SEED + index

    def requests(self, item: Item) -> Sequence[Request]:
        """Return what the item's score needs; a complex prompt asks only for the parts of its group."""
        return requests_of(item)

    def score(self, judged: JudgedImage, mode: Mode) -> Mapping[str, Any]:
        """Return `score` and, of complex images, its parts; else `failed` or `missing` say why not."""
        return score_image(judged, mode)

    def columns(
        self, items: Sequence[Item], scores: Sequence[tuple[Item, int, Mapping[str, Any]]], mode: Mode
    ) -> list[Column]:
        """Return the categories' columns, then Attribute and Layout where `items` have all of their categories."""
        return all_columns(items, scores, self.roles, mode, official_prompts=self._official)

    def official_files(
        self,
        scored: Sequence[tuple[ImageFile, JudgedImage, Mapping[str, Any]]],
        columns: Sequence[Column],
        folder: Path,
        target: Path,
    ) -> Mapping[str, str]:
        """Return each category's `vqa_result.json` and the file with its mean, see :mod:`.reports`."""
        del columns, folder, target
        by_category: dict[str, list[tuple[int, float]]] = {}
        for image, judged, numbers in scored:
            if SCORE in numbers:
                row = (number_of(image.path), float(numbers[SCORE]))
                by_category.setdefault(judged.item.category, []).append(row)
        return {
            name: text
            for category, rows in by_category.items()
            for name, text in category_files(category, rows).items()
        }
