"""The benchmark `shapes`: held-out compositions, each asked for by its atomic facts, read by an exact judge."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from silmm.bench.images import visible_files
from silmm.bench.statistics import cluster_means, mean_interval
from silmm.contracts.benchmarks import (
    Benchmark,
    Column,
    FolderImages,
    ImageFile,
    Item,
    JudgedImage,
    Mode,
    Problem,
    Request,
)
from silmm.contracts.records import EvalResult, prompt_id
from silmm.errors import UsageError
from silmm.seeds import derive
from silmm_benchmarks.benchmark_options import ShapesOptions
from silmm_benchmarks.shapes.facts import atomic_facts, question
from silmm_benchmarks.shapes.language import CATEGORIES
from silmm_benchmarks.shapes.splits import SPLITS, contaminated

if TYPE_CHECKING:
    from silmm.contracts.models import BaseModel

ROLE = "yes-no"
SEED = 0
"""In place of a run's seed, under which `silmm run` samples."""


class Shapes(Benchmark):
    """426 held-out prompts (or 213 for tuning), each asked for by its atomic facts, read by an exact judge."""

    name = "shapes"
    title = "Shapes, held-out compositions"
    roles: Mapping[str, str] = MappingProxyType({ROLE: "shapes-parser"})

    def __init__(self, options: ShapesOptions | None = None) -> None:
        """Take the split, the number of images per prompt, and what a run measures besides."""
        self.options = options or ShapesOptions()

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
                category=prompt.category, images=self.options.images,
                details={"questions": [question(fact) for fact in atomic_facts(prompt.spec)]},
            )
            for prompt in SPLITS[self.options.split]()
            if not categories or prompt.category in categories
        ]

    def fingerprint(self, data: Path) -> Mapping[str, str]:
        """Return the hash of the generated prompts, which no file holds."""
        texts = "\n".join(item.prompt for item in self.items(data))
        return {"prompts": hashlib.sha256(texts.encode()).hexdigest()}

    def protocol(self) -> Mapping[str, Any]:
        """Return the split and the rules."""
        return {
            "split": self.options.split,
            "seed_rule": 'sha256 of (0, "shapes", prompt, image), as `silmm run` samples them',
            "aggregation": "share of facts that hold, mean over images, then over prompts",
            "resolution": "32x32",
        }

    def find(self, folder: Path, items: Sequence[Item]) -> FolderImages:
        """Match files called `<id>_<image>.png`."""
        expected = {
            self.target(folder, item, index).name: (item, index)
            for item in items for index in range(item.images)
        }
        names = {path.name for path in visible_files(folder)}
        images = tuple(
            ImageFile(item.id, index, folder / name)
            for name, (item, index) in expected.items() if name in names
        )
        missing = [
            Problem("missing", name, f"no image {index} of {item.prompt!r}", item.id)
            for name, (item, index) in expected.items() if name not in names
        ]
        extra = [Problem("extra", name, "it belongs to no prompt") for name in sorted(names - set(expected))]
        return FolderImages(images, (*missing, *extra))

    def target(self, folder: Path, item: Item, index: int) -> Path:
        """Return `<folder>/<id>_<image>.png`."""
        return folder / f"{item.id}_{index}.png"

    def seed(self, item: Item, index: int) -> int:
        """Derive the seed from the prompt and the image's index."""
        return derive(SEED, "shapes", item.prompt, index)

    def requests(self, item: Item) -> Sequence[Request]:
        """Ask about every atomic fact."""
        return (Request(ROLE, tuple(item.details["questions"])),)

    def score(self, judged: JudgedImage, mode: Mode) -> Mapping[str, Any]:
        """Return the share of facts that hold, and whether all do."""
        del mode
        if ROLE not in judged.answers:
            return {}
        answers = judged.answers[ROLE]
        return {"facts": sum(answers) / len(answers), "all_facts_correct": float(all(answers))}

    def columns(
        self, items: Sequence[Item], scores: Sequence[tuple[Item, int, Mapping[str, Any]]], mode: Mode
    ) -> list[Column]:
        """Return the categories and the mean over all prompts; images with all facts correct as a detail."""
        del mode
        names = [name for name in CATEGORIES if any(item.category == name for item in items)]
        return [
            *(_column(name, "facts", [row for row in scores if row[0].category == name]) for name in names),
            _column("Overall", "facts", scores),
            replace(_column("All facts correct", "all_facts_correct", scores), detail=True),
        ]

    def excluded(self, prompt: str, own_prompts: Collection[str]) -> bool:
        """Return whether a training prompt has a held-out combination, as every prompt of the benchmark has."""
        del own_prompts
        return contaminated(prompt)

    def evaluate(
        self,
        model: BaseModel,
        adapters: Mapping[str, Path | None],
        *,
        work: Path,
        seed: int,
        limit: int | None,
        progress: Callable[[str, int, int], None],
    ) -> EvalResult:
        """Measure more than the images; see :func:`silmm_benchmarks.shapes.evaluation.comparison.evaluate`."""
        from silmm_benchmarks.shapes.evaluation.comparison import evaluate  # imports the judge

        return evaluate(
            self.options, model, adapters, work=work, seed=seed, limit=limit, progress=progress
        )

    def kept_by_content(self, work: Path) -> list[Path]:
        """Return what is finished in `work` under a name made of all it depends on, except the model."""
        sampled = [path.parent for path in sorted(work.glob("sampled-*/manifest.json"))]
        return [*sampled, *sorted(work.glob("answers-*.json")), *sorted(work.glob("feedback-*.json"))]


def _column(name: str, key: str, scores: Sequence[tuple[Item, int, Mapping[str, Any]]]) -> Column:
    rows = [(item.id, float(numbers[key])) for item, _, numbers in scores if key in numbers]
    if not rows:
        return Column(name, None, 0, 0, note="no image with an answer of the judge shapes-parser")
    _, means = cluster_means([value for _, value in rows], [item for item, _ in rows])
    low, high = mean_interval(means)
    return Column(name, float(np.mean(means)), len(means), len(rows), low, high)
