"""The held-out prompts of shapes as an image benchmark: `silmm bench shapes --model tiny-discrete`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from silmm.bench.images import visible_files
from silmm.bench.statistics import cluster_means, mean_interval
from silmm.contracts.benchmarks import Column, Found, ImageFile, Item, Judged, Mode, Problem, Request
from silmm.contracts.records import prompt_id
from silmm.errors import UsageError
from silmm.seeds import derive
from silmm_benchmarks.shapes.facts import atomic_facts, question
from silmm_benchmarks.shapes.language import CATEGORIES
from silmm_benchmarks.shapes.splits import report_prompts, tune_prompts

if TYPE_CHECKING:
    from PIL.Image import Image

ROLE = "yes-no"
SEED = 0
SPLITS = MappingProxyType({"report": report_prompts, "tune": tune_prompts})


class ShapesImages:
    """480 or fewer held-out prompts, each asked for by its atomic facts, read by an exact judge."""

    name = "shapes"
    title = "Shapes, held-out compositions"
    roles: Mapping[str, str] = MappingProxyType({ROLE: "shapes-parser"})
    repairs: Sequence[str] = ()

    def __init__(self, split: Literal["report", "tune"] = "report", images: int = 4) -> None:
        """Take a split and the number of images of each prompt."""
        self.split: Literal["report", "tune"] = split
        self.images = images

    def items(self, data: Path, categories: Sequence[str] = ()) -> list[Item]:
        """Return the held-out prompts; nothing is read from `data`.

        Raises:
            UsageError: an unknown category.
        """
        del data
        for name in categories:
            if name not in CATEGORIES:
                raise UsageError(f"shapes has no category {name!r}; it has {', '.join(CATEGORIES)}.")
        return [
            Item(
                id=f"{prompt.category}-{prompt_id(prompt.text)}", prompt=prompt.text,
                category=prompt.category, images=self.images,
                details={"questions": [question(fact) for fact in atomic_facts(prompt.spec)]},
            )
            for prompt in SPLITS[self.split]()
            if not categories or prompt.category in categories
        ]

    def fingerprint(self, data: Path) -> Mapping[str, str]:
        """Return the hash of the generated prompts, which no file holds."""
        texts = "\n".join(item.prompt for item in self.items(data))
        return {"prompts": hashlib.sha256(texts.encode()).hexdigest()}

    def protocol(self) -> Mapping[str, Any]:
        """Return the split and the rules."""
        return {
            "split": self.split,
            "seed_rule": 'sha256 of (0, "shapes", prompt, image), as `silmm run` samples them',
            "aggregation": "share of facts that hold, mean over images, then over prompts",
            "resolution": "32x32",
        }

    def find(self, folder: Path, items: Sequence[Item]) -> Found:
        """Look for `<id>_<image>.png`."""
        wanted = {
            self.target(folder, item, index).name: (item, index)
            for item in items for index in range(item.images)
        }
        here = {path.name for path in visible_files(folder)}
        images = tuple(
            ImageFile(item.id, index, folder / name) for name, (item, index) in wanted.items() if name in here
        )
        missing = [
            Problem("missing", name, f"no image {index} of {item.prompt!r}", item.id)
            for name, (item, index) in wanted.items() if name not in here
        ]
        extra = [Problem("extra", name, "it belongs to no prompt") for name in sorted(here - set(wanted))]
        return Found(images, (*missing, *extra))

    def target(self, folder: Path, item: Item, index: int) -> Path:
        """Store `<id>_<image>.png`."""
        return folder / f"{item.id}_{index}.png"

    def join(self, images: Sequence[Image]) -> Image:
        """Return the one image of a target."""
        (image,) = images
        return image

    def seed(self, item: Item, index: int) -> int:
        """Derive the seed from the prompt and the image's number."""
        return derive(SEED, "shapes", item.prompt, index)

    def requests(self, item: Item) -> Sequence[Request]:
        """Ask about every atomic fact."""
        return (Request(ROLE, tuple(item.details["questions"])),)

    def follow_up(self, item: Item, answers: Mapping[str, Sequence[Any]]) -> Sequence[Request]:
        """Ask nothing more."""
        del item, answers
        return ()

    def score(self, judged: Judged, mode: Mode) -> Mapping[str, Any]:
        """Return the share of facts that hold, and whether all do."""
        del mode
        if ROLE not in judged.answers:
            return {}
        answers = judged.answers[ROLE]
        return {"facts": sum(answers) / len(answers), "entirely_right": float(all(answers))}

    def columns(
        self, items: Sequence[Item], scores: Sequence[tuple[Item, int, Mapping[str, Any]]], mode: Mode
    ) -> list[Column]:
        """Return the categories and the mean over all prompts; entirely right images as a detail."""
        del mode
        here = [name for name in CATEGORIES if any(item.category == name for item in items)]
        return [
            *(_column(name, "facts", [one for one in scores if one[0].category == name]) for name in here),
            _column("Overall", "facts", scores),
            replace(_column("Entirely right", "entirely_right", scores), detail=True),
        ]


def _column(name: str, key: str, scores: Sequence[tuple[Item, int, Mapping[str, Any]]]) -> Column:
    rows = [(item.id, float(found[key])) for item, _, found in scores if key in found]
    if not rows:
        return Column(name, None, 0, 0, note="no image with an answer of the judge shapes-parser")
    _, means = cluster_means([value for _, value in rows], [item for item, _ in rows])
    low, high = mean_interval(means)
    return Column(name, float(np.mean(means)), len(means), len(rows), low, high)
