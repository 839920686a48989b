"""The result of one benchmark: a JSON file with card and columns, tables of images and prompts, official outputs."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from silmm.bench.judging.answer_codec import Failure
from silmm.bench.leaderboard.results import FORMAT, KIND, SEAL, seal
from silmm.bench.protocol_card import Card
from silmm.contracts.benchmarks import Benchmark, Column, ImageFile, Item, JudgedImage, Mode, OfficialOutputs
from silmm.contracts.judges import Detections
from silmm.contracts.options import canonical
from silmm.errors import DataError
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import to_json
from silmm.storage.tables import to_parquet
from silmm.version import __version__

SHOWN = 20
"""Images that a message lists."""
OFFICIAL_SUFFIX = ".files"
"""Of the folder with the official outputs beside a result."""
VERSIONS = ("torch", "transformers", "diffusers", "open_clip_torch", "numpy", "pillow", "spacy")

IMAGES = pa.schema([
    ("item", pa.string()), ("category", pa.string()), ("prompt", pa.string()), ("index", pa.int32()),
    ("path", pa.string()),
    ("sha256", pa.string()),   # of the file, with the box where the image is a part of it
    ("answers", pa.string()),  # JSON: role -> the judge's answers; detections and depth maps shortened
    ("scores", pa.string()),   # JSON: the numbers that the rules gave
    ("failed", pa.string()),   # why the image counts in no column, else null
])
PROMPTS = pa.schema([("item", pa.string()), ("column", pa.string()), ("value", pa.float64())])


@dataclass(frozen=True)
class ScoredImage:
    """One image after the rules."""

    item: Item
    image: ImageFile
    judged: JudgedImage
    scores: Mapping[str, Any]
    failed: str | None
    """Why it counts nowhere: the official scripts drop it, or an answer is unusable."""
    by_rule: bool = True
    """Whether that is a rule of the benchmark."""

    @property
    def row(self) -> tuple[Item, int, Mapping[str, Any]]:
        """What :meth:`silmm.contracts.benchmarks.Benchmark.columns` reads of it."""
        return self.item, self.image.index, self.scores


@dataclass(frozen=True)
class ResultParts:
    """Everything that a result file is made of."""

    benchmark: Benchmark
    mode: Mode
    card: Card
    model: Mapping[str, Any]
    items: Sequence[Item]
    scored: Sequence[ScoredImage]
    ids: Mapping[ImageFile, str]
    folder: Path
    """Paths of images are relative to it."""
    marks: Sequence[str]
    """Why it is no full result: subset, partial; empty for a full one."""
    problems: Mapping[str, int]
    """Kind -> images of the folder that are not scored."""
    left_out: Sequence[str]
    """Roles without a judge."""
    canaries: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Role -> the canaries that its judge failed."""

    @property
    def counted(self) -> list[ScoredImage]:
        """The images that count."""
        return [image for image in self.scored if image.failed is None]


def score_images(
    benchmark: Benchmark, mode: Mode, judged: Sequence[tuple[Item, ImageFile, JudgedImage, Sequence[str]]]
) -> list[ScoredImage]:
    """Apply the rules of `mode` to each image; one with an unusable answer keeps its reason, no number."""
    scored = []
    for item, image, answers, unusable in judged:
        scores = {} if unusable else _plain(benchmark.score(answers, mode))
        failures = [*unusable, *(f"not finite: {name}" for name in _not_finite(scores))]
        failed = "; ".join(failures) or scores.get("failed") or None
        scored.append(ScoredImage(item, image, answers, scores, failed, by_rule=not failures))
    return scored


def unusable_images(scored: Sequence[ScoredImage]) -> list[ScoredImage]:
    """Return the images that no rule drops and that still have no number."""
    return [image for image in scored if image.failed is not None and not image.by_rule]


def unusable_error(unusable: Sequence[ScoredImage]) -> DataError:
    """Return the error that lists which answers cannot be used; nothing was scored."""
    lines = [f"  {image.item.id}, image {image.image.index}: {image.failed}" for image in unusable[:SHOWN]]
    more = [f"  … and {len(unusable) - SHOWN} more"] if len(unusable) > SHOWN else []
    return DataError("\n".join([
        f"{len(unusable)} images have answers that cannot be used.", *lines, *more,
        "Nothing was scored. Check the judge (its weights, its precision); --allow-missing leaves these "
        "images out and marks the result as partial.",
    ]))


def write_result(parts: ResultParts, path: Path) -> Path:
    """Write the result's tables and then its JSON file `path`, which is complete exactly when it exists.

    Raises:
        OutOfSpace, DataError: the system refused the write.
    """
    by_rule = [image.row for image in parts.scored if image.failed is None or image.by_rule]  # columns report drops
    columns = parts.benchmark.columns(parts.items, by_rule, parts.mode)
    tables = {
        "images": to_parquet(_image_table(parts)),
        "prompts": to_parquet(_prompt_table(parts)),
    }
    files = {}
    for name, data in tables.items():
        target = path.with_name(f"{path.stem}.{name}.parquet")
        atomic_write(target, data)
        files[name] = {"file": target.name, "sha256": hashlib.sha256(data).hexdigest()}
    content = {
        "kind": KIND,
        "format": FORMAT,
        "benchmark": parts.benchmark.name,
        "title": parts.benchmark.title,
        "mode": parts.mode.value,
        "model": dict(parts.model),
        "card": parts.card.as_json(),
        "columns": [_column(column) for column in columns],
        "marks": list(parts.marks),
        "counts": {
            "prompts": len(parts.items),
            "images_expected": sum(item.images for item in parts.items),
            "images_judged": len(parts.scored),
            "images_counted": len(parts.counted),
            "problems": dict(parts.problems),
            "failed": dict(Counter(image.failed for image in parts.scored if image.failed is not None)),
        },
        "left_out": list(parts.left_out),
        "canaries_failed": {role: list(failed) for role, failed in parts.canaries.items()},
        "versions": versions(),
        "tables": files,
    }
    content = json.loads(to_json(content))  # as it will be read
    atomic_write(path, to_json({**content, SEAL: seal(content)}))
    return path


def write_official(parts: ResultParts, path: Path, note: Callable[[str], None]) -> list[Path]:
    """Write what the official scripts write into the folder `<result>.files`; `note` says where, or that there is none.

    Args:
        parts: a result in mode `official`.
        path: the result file.
        note: called with one line.

    Raises:
        DataError: the official scripts could write nothing either.
    """
    benchmark, folder = parts.benchmark, path.with_suffix(OFFICIAL_SUFFIX)
    if not isinstance(benchmark, OfficialOutputs):
        note(f"{benchmark.name}: --official-files writes nothing; the result file has all numbers")
        return []
    columns = benchmark.columns(parts.items, [image.row for image in parts.counted], parts.mode)
    scored = [(image.image, image.judged, image.scores) for image in parts.counted]
    texts = benchmark.official_files(scored, columns, parts.folder, folder)
    for name, text in texts.items():
        atomic_write(folder / name, text.encode())
    note(f"{benchmark.name}: official files in {folder}")
    return [folder / name for name in texts]


def versions() -> dict[str, str]:
    """Return the versions of the packages that could change a number."""
    versions = {"python": platform.python_version(), "silmm": __version__}
    for name in VERSIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _column(column: Column) -> dict[str, Any]:
    data = asdict(column)
    for name in ("value", "low", "high"):
        if data[name] is not None and not math.isfinite(data[name]):
            data[name] = None  # one prompt has no interval; a column without images has no value
    return data


def _image_table(parts: ResultParts) -> pa.Table:
    rows = [
        {
            "item": image.item.id,
            "category": image.item.category,
            "prompt": image.item.prompt,
            "index": image.image.index,
            "path": _relative(image.image.path, parts.folder),
            "sha256": parts.ids[image.image],
            "answers": canonical({
                role: [_shortened(answer) for answer in answers] for role, answers in image.judged.answers.items()
            }),
            "scores": canonical(_finite(image.scores)),
            "failed": image.failed,
        }
        for image in parts.scored
    ]
    return pa.Table.from_pylist(rows, schema=IMAGES)


def _relative(path: Path, folder: Path) -> str:
    """Return a path relative to the folder of images, so that equal folders give equal tables."""
    base = folder if folder.is_dir() else folder.parent
    return Path(os.path.relpath(path, base)).as_posix()


def _prompt_table(parts: ResultParts) -> pa.Table:
    """Give each prompt its own value of each column, for paired comparisons."""
    groups: dict[str, list[ScoredImage]] = {}
    for image in parts.counted:
        groups.setdefault(image.item.id, []).append(image)
    rows = []
    for item, group in groups.items():
        scores = [image.row for image in group]
        for column in parts.benchmark.columns([group[0].item], scores, parts.mode):
            if column.value is not None and math.isfinite(column.value):
                rows.append({"item": item, "column": column.name, "value": float(column.value)})
    return pa.Table.from_pylist(rows, schema=PROMPTS)


def _shortened(answer: Any) -> Any:
    """Return an answer for the table; large ones are represented by their size."""
    if isinstance(answer, Detections):
        return {"labels": list(answer.labels), "scores": [float(score) for score in answer.scores]}
    if isinstance(answer, Failure):
        return {"failed": answer.reason}
    if isinstance(answer, np.ndarray):
        return {"shape": list(answer.shape)}
    return answer


def _plain(value: Any) -> Any:
    """Return the rules' numbers as JSON knows them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.item() if isinstance(value, np.generic) else value


def _not_finite(scores: Mapping[str, Any]) -> list[str]:
    return [name for name, value in scores.items() if isinstance(value, float) and not math.isfinite(value)]


def _finite(scores: Mapping[str, Any]) -> dict[str, Any]:
    names = set(_not_finite(scores))
    return {name: str(value) if name in names else value for name, value in scores.items()}
