"""The columns of the paper's table from images' verdicts: six tags and their mean (docs/spec/geneval.md 2.7)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from silmm.bench.statistics import grouped_interval, mean_interval, ratio_interval
from silmm.contracts.benchmarks import Column, Item, Mode
from silmm_benchmarks.geneval.prompts import TAGS, categories_of, metadata_text

CORRECT, REASON, MISSING = "correct", "reason", "missing"
"""Keys of an image's numbers: right or wrong, the official reasons, the role without a judge."""
NO_IMAGES = "no images"

Scores = Sequence[tuple[Item, int, Mapping[str, Any]]]


@dataclass(frozen=True)
class _Tag:
    """The prompts of a tag: for each the verdicts of its images."""

    name: str
    prompts: Mapping[str, Sequence[bool]]
    note: str = ""
    """Why there is no number; "" where there is one."""

    @property
    def title(self) -> str:
        return TAGS[self.name][0] if self.name in TAGS else self.name

    @property
    def images(self) -> int:
        return sum(map(len, self.prompts.values()))

    @property
    def mean(self) -> float:
        """The share of right images; images weigh alike, whichever prompt they are of."""
        return sum(map(sum, self.prompts.values())) / self.images

    @property
    def prompt_means(self) -> list[float]:
        return [sum(verdicts) / len(verdicts) for verdicts in self.prompts.values()]


def all_columns(items: Sequence[Item], scores: Scores, roles: Mapping[str, str], mode: Mode) -> list[Column]:
    """Return the mean of the tags, the tags, and as details the shares of right images and of prompts ever right.

    Officially prompts are told apart by their metadata's text; in mode fixed by their line, a tag whose images are not
    all scored has no number, and the overall score of each image of the prompts shows how it spreads over seeds.
    """
    tags = [_tag(name, items, scores, roles, mode) for name in categories_of(items)]
    columns = [_overall(tags), *map(_tag_column, tags), *_shares(tags)]
    return [*columns, *_by_image(items, scores, roles)] if mode is Mode.FIXED else columns


def _tag(name: str, items: Sequence[Item], scores: Scores, roles: Mapping[str, str], mode: Mode) -> _Tag:
    prompts: dict[str, list[bool]] = {}
    missing: Counter[str] = Counter()
    for item, _, numbers in scores:
        if item.category != name:
            continue
        missing.update([numbers[MISSING]] if MISSING in numbers else [])
        if CORRECT in numbers:
            key = item.id if mode is Mode.FIXED else metadata_text(item.details["metadata"])
            prompts.setdefault(key, []).append(bool(numbers[CORRECT]))
    if missing:
        return _Tag(name, prompts, f"no number without {' and '.join(f'{roles[role]} ({role})' for role in missing)}")
    expected = sum(item.images for item in items if item.category == name)
    scored = sum(map(len, prompts.values()))
    if mode is Mode.FIXED and scored < expected:
        return _Tag(name, prompts, f"no number of a part: {scored} of {expected} images are scored")
    return _Tag(name, prompts, "" if prompts else NO_IMAGES)


def _tag_column(tag: _Tag) -> Column:
    if tag.note:
        return Column(tag.title, None, len(tag.prompts), tag.images, note=tag.note)
    sums, counts = zip(*((sum(verdicts), len(verdicts)) for verdicts in tag.prompts.values()), strict=True)
    low, high = _ends(ratio_interval(sums, counts))
    return Column(tag.title, tag.mean, len(tag.prompts), tag.images, low, high)


def _overall(tags: Sequence[_Tag], name: str = "Overall", *, detail: bool = False) -> Column:
    """Return the unweighted mean of the tags that have images; prompts are resampled inside their tag."""
    present = [tag for tag in tags if tag.prompts or tag.note != NO_IMAGES]
    prompts, images = sum(len(tag.prompts) for tag in present), sum(tag.images for tag in present)
    absent = [tag for tag in present if tag.note]
    if absent or not present:
        note = f"no number without {', '.join(tag.title for tag in absent)}" if absent else NO_IMAGES
        return Column(name, None, prompts, images, note=note, detail=detail)
    value = sum(tag.mean for tag in present) / len(present)
    low, high = _ends(grouped_interval([tag.prompt_means for tag in present]))
    left_out = [tag.title for tag in tags if tag not in present]
    note = f"without {', '.join(left_out)}, which has no images" if left_out else ""
    return Column(name, value, prompts, images, low, high, note, detail)


def _shares(tags: Sequence[_Tag]) -> list[Column]:
    """Return the share of right images and that of prompts with any right image, over all tags."""
    prompts: dict[str, list[bool]] = {}
    for tag in tags:
        for key, verdicts in tag.prompts.items():
            prompts.setdefault(key, []).extend(verdicts)
    groups = list(prompts.values())
    if not groups or any(tag.note and tag.prompts for tag in tags):
        return []
    images = sum(map(len, groups))
    low, high = _ends(ratio_interval([sum(verdicts) for verdicts in groups], [len(verdicts) for verdicts in groups]))
    right = sum(map(sum, groups)) / images
    ever = [float(any(verdicts)) for verdicts in groups]
    ever_low, ever_high = _ends(mean_interval(ever))
    return [
        Column("Correct Images", right, len(groups), images, low, high, detail=True),
        Column("Correct Prompts", sum(ever) / len(ever), len(groups), images, ever_low, ever_high,
               "prompts with any right image", detail=True),
    ]  # fmt: skip


def _by_image(items: Sequence[Item], scores: Scores, roles: Mapping[str, str]) -> list[Column]:
    """Return the overall score of the first image of all prompts, of the second, …."""
    columns = []
    for number in sorted({index for _, index, numbers in scores if CORRECT in numbers}):
        of_image = [row for row in scores if row[1] == number]
        tags = [_tag(name, items, of_image, roles, Mode.OFFICIAL) for name in categories_of(items)]
        columns.append(_overall(tags, f"Overall of image {number}", detail=True))
    return columns


def _ends(interval: tuple[float, float]) -> tuple[float | None, float | None]:
    """Return no interval, instead of NaN, where one prompt alone leaves nothing to resample."""
    low, high = interval
    return (None, None) if math.isnan(low) else (low, high)
