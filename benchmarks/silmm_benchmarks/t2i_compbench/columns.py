"""The columns of the paper's table: the eight categories and two groups (docs/spec/benchmarks.md 1.12)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from silmm.bench.statistics import grouped_interval, optional_ends, ratio_interval
from silmm.contracts.benchmarks import Column, Item, Mode
from silmm_benchmarks.t2i_compbench.prompts.prompt_files import PROMPTS
from silmm_benchmarks.t2i_compbench.rules.image_scores import FAILED, MISSING, SCORE

ALL_ZERO = "every score is 0: look at the judge's answers, damaged weights look like this too"
"""Noted because UniDet RS200 finds nothing after a faulty load (docs/spec/benchmarks.md 6), as with a bad model."""

Scores = Sequence[tuple[Item, int, Mapping[str, Any]]]

TITLES = {
    "color": "Color", "shape": "Shape", "texture": "Texture", "spatial": "2D-Spatial",
    "3d_spatial": "3D-Spatial", "numeracy": "Numeracy", "non_spatial": "Non-Spatial", "complex": "Complex",
}
GROUPS = {"Attribute": ("color", "shape", "texture"), "Layout": ("spatial", "3d_spatial", "numeracy")}
"""The paper's groups; Complex is a column of its own. The benchmark itself defines none."""
CEILINGS = {
    "spatial": "at most 0.667: 100 of the 300 prompts name a thing that is none of the official labels",
    "3d_spatial": "20 of the 300 prompts name a thing that is in none of the official labels: at most 0.25",
    "complex": '"on top of" has no rule: the spatial part of 33 of the 300 prompts is 0',
}
"""What no model can pass with the official rules and detector (docs/spec/benchmarks.md 1.7, 1.8, 1.10)."""


def category_column(
    category: str, items: Sequence[Item], scores: Scores, roles: Mapping[str, str], *, ceiling: bool
) -> Column:
    """Return the mean over a category's scored images, with an interval over its prompts.

    Args:
        category: the official name; `items` and `scores` may hold other categories too.
        items: the prompts that were to be scored.
        scores: what was scored.
        roles: role -> judge, to name the one that is missing.
        ceiling: whether the official ceilings hold, if `items` are all prompts of the category.
    """
    numbers_of_images = [numbers for item, _, numbers in scores if item.category == category]
    missing = Counter(role for numbers in numbers_of_images for role in numbers.get(MISSING, "").split(", ") if role)
    prompts = sum(item.category == category for item in items)
    if missing:
        names = " and ".join(f"{roles.get(role, role)} ({role})" for role in missing)
        return Column(TITLES[category], None, prompts, len(numbers_of_images), note=f"no number without {names}")
    values = prompt_values(category, scores)
    if not values:
        return Column(TITLES[category], None, 0, 0, note="; ".join(_failures(numbers_of_images)) or "no images")
    sums, counts = [sum(each) for each in values], [len(each) for each in values]
    low, high = optional_ends(ratio_interval(sums, counts))
    ceiling_note = CEILINGS.get(category) if ceiling and prompts == PROMPTS else None
    notes = [*_failures(numbers_of_images), *([ceiling_note] if ceiling_note else []),
        *([] if any(sums) else [ALL_ZERO])]
    return Column(
        TITLES[category], sum(sums) / sum(counts), len(values), sum(counts), low, high, "; ".join(notes)
    )


def group_column(name: str, columns: Mapping[str, Column], scores: Scores) -> Column:
    """Return the mean of three categories' numbers; prompts are resampled inside their category."""
    members = [columns[category] for category in GROUPS[name]]
    prompts, images = (sum(counts) for counts in zip(*((m.prompts, m.images) for m in members), strict=True))
    absent = [member.name for member in members if member.value is None]
    if absent:
        return Column(name, None, prompts, images, note=f"no number without {' and '.join(absent)}")
    means = [
        [sum(each) / len(each) for each in prompt_values(category, scores)] for category in GROUPS[name]
    ]
    low, high = optional_ends(grouped_interval(means))
    value = sum(member.value for member in members if member.value is not None) / len(members)
    return Column(name, value, prompts, images, low, high, f"mean of {', '.join(m.name for m in members)}")


def all_columns(
    items: Sequence[Item], scores: Scores, roles: Mapping[str, str], mode: Mode, *, official_prompts: bool
) -> list[Column]:
    """Return the columns of the categories that `items` have, and of groups that are complete."""
    present = {item.category for item in items}
    ceiling = mode is Mode.OFFICIAL and official_prompts
    columns = {
        category: category_column(category, items, scores, roles, ceiling=ceiling)
        for category in TITLES
        if category in present
    }
    groups = [
        group_column(name, columns, scores)
        for name, members in GROUPS.items()
        if present.issuperset(members)
    ]
    return [*columns.values(), *groups]


def prompt_values(category: str, scores: Scores) -> list[list[float]]:
    """Return the scores of each prompt of a category, prompts without a score left out."""
    by_prompt: dict[str, list[float]] = {}
    for item, _, numbers in scores:
        if item.category == category and SCORE in numbers:
            by_prompt.setdefault(item.id, []).append(float(numbers[SCORE]))
    return list(by_prompt.values())


def _failures(numbers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Count images that are left out, by reason."""
    reasons = Counter(str(row[FAILED]) for row in numbers if FAILED in row)
    return [f"{count} of {len(numbers)} images left out: {reason}" for reason, count in reasons.items()]
