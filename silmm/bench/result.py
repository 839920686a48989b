"""The result of one benchmark: a JSON file with card and columns, and tables of images and prompts."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from silmm.bench.answer_codec import Failure
from silmm.bench.leaderboard.results import FORMAT, KIND, SEAL, seal
from silmm.bench.protocol_card import Card
from silmm.contracts.benchmarks import Column, ImageBenchmark, ImageFile, Item, Judged, Mode
from silmm.contracts.judges import Detections
from silmm.contracts.options import canonical
from silmm.errors import DataError
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import to_json
from silmm.storage.tables import to_parquet
from silmm.version import __version__

SHOWN = 20
"""Images that a message lists."""
VERSIONS = ("torch", "transformers", "diffusers", "open_clip_torch", "numpy", "pillow", "spacy")

IMAGES = pa.schema([
    ("item", pa.string()), ("category", pa.string()), ("prompt", pa.string()), ("index", pa.int32()),
    ("path", pa.string()),
    ("sha256", pa.string()),   # of the file, with the box where the image is a part of it
    ("answers", pa.string()),  # JSON: role -> the judge's answers; detections and depth maps shortened
    ("scores", pa.string()),   # JSON: what the rules made of them
    ("failed", pa.string()),   # why the image counts in no column, else null
])
PROMPTS = pa.schema([("item", pa.string()), ("column", pa.string()), ("value", pa.float64())])


@dataclass(frozen=True)
class Scored:
    """One image after the rules."""

    item: Item
    image: ImageFile
    judged: Judged
    scores: Mapping[str, Any]
    failed: str | None
    """Why it counts nowhere: the official scripts drop it, or an answer is unusable."""
    by_rule: bool = True
    """Whether that is a rule of the benchmark."""


@dataclass(frozen=True)
class Finding:
    """All that a result is made of."""

    benchmark: ImageBenchmark
    mode: Mode
    card: Card
    model: Mapping[str, Any]
    items: Sequence[Item]
    scored: Sequence[Scored]
    ids: Mapping[ImageFile, str]
    folder: Path
    """What the images' paths are told from."""
    marks: Sequence[str]
    """Why it is no full result: subset, partial; empty for a full one."""
    problems: Mapping[str, int]
    """Kind -> images of the folder that are not scored."""
    left_out: Sequence[str]
    """Roles without a judge."""
    canaries: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Role -> what its judge failed."""


def score(
    benchmark: ImageBenchmark, mode: Mode, judged: Sequence[tuple[Item, ImageFile, Judged, Sequence[str]]]
) -> list[Scored]:
    """Apply the rules of `mode` to each image; one with an unusable answer keeps its reason, no number."""
    found = []
    for item, image, answers, unusable in judged:
        scores = {} if unusable else _plain(benchmark.score(answers, mode))
        bad = [*unusable, *(f"not finite: {name}" for name in _not_finite(scores))]
        failed = "; ".join(bad) or scores.get("failed") or None
        found.append(Scored(item, image, answers, scores, failed, by_rule=not bad))
    return found


def unusable(scored: Sequence[Scored]) -> list[Scored]:
    """Return the images that no rule drops and that still have no number."""
    return [one for one in scored if one.failed is not None and not one.by_rule]


def refuse(bad: Sequence[Scored]) -> DataError:
    """Say which answers cannot be used; nothing was scored."""
    lines = [f"  {one.item.id}, image {one.image.index}: {one.failed}" for one in bad[:SHOWN]]
    more = [f"  … and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
    return DataError("\n".join([
        f"{len(bad)} images have answers that cannot be used.", *lines, *more,
        "Nothing was scored. Check the judge (its weights, its precision); --allow-missing leaves these "
        "images out and marks the result as partial.",
    ]))


def write(finding: Finding, path: Path) -> Path:
    """Write the result's tables and then its JSON file `path`, which is complete exactly when it is there.

    Raises:
        OutOfSpace, DataError: the system refused the write.
    """
    counted = [one for one in finding.scored if one.failed is None]
    ruled = [one for one in finding.scored if one.failed is None or one.by_rule]  # columns tell of drops
    rows = [(one.item, one.image.index, one.scores) for one in ruled]
    columns = finding.benchmark.columns(finding.items, rows, finding.mode)
    tables = {
        "images": to_parquet(_images(finding)),
        "prompts": to_parquet(_prompts(finding, counted)),
    }
    files = {}
    for name, data in tables.items():
        target = path.with_name(f"{path.stem}.{name}.parquet")
        atomic_write(target, data)
        files[name] = {"file": target.name, "sha256": hashlib.sha256(data).hexdigest()}
    failures: dict[str, int] = {}
    for one in finding.scored:
        if one.failed is not None:
            failures[one.failed] = failures.get(one.failed, 0) + 1
    content = {
        "kind": KIND,
        "format": FORMAT,
        "benchmark": finding.benchmark.name,
        "title": finding.benchmark.title,
        "mode": finding.mode.value,
        "model": dict(finding.model),
        "card": finding.card.as_json(),
        "columns": [_column(column) for column in columns],
        "marks": list(finding.marks),
        "counts": {
            "prompts": len(finding.items),
            "images_expected": sum(item.images for item in finding.items),
            "images_judged": len(finding.scored),
            "images_counted": len(counted),
            "problems": dict(finding.problems),
            "failed": failures,
        },
        "left_out": list(finding.left_out),
        "canaries_failed": {role: list(failed) for role, failed in finding.canaries.items()},
        "versions": versions(),
        "tables": files,
    }
    content = json.loads(to_json(content))  # as it will be read
    atomic_write(path, to_json({**content, SEAL: seal(content)}))
    return path


def versions() -> dict[str, str]:
    """Return the versions of what could change a number."""
    found = {"python": platform.python_version(), "silmm": __version__}
    for name in VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _column(column: Column) -> dict[str, Any]:
    data = asdict(column)
    for name in ("value", "low", "high"):
        if data[name] is not None and not math.isfinite(data[name]):
            data[name] = None  # one prompt has no interval; a column without images has no value
    return data


def _images(finding: Finding) -> pa.Table:
    rows = [
        {
            "item": one.item.id,
            "category": one.item.category,
            "prompt": one.item.prompt,
            "index": one.image.index,
            "path": _shown(one.image.path, finding.folder),
            "sha256": finding.ids[one.image],
            "answers": canonical({role: _short(given) for role, given in one.judged.answers.items()}),
            "scores": canonical(_finite(one.scores)),
            "failed": one.failed,
        }
        for one in finding.scored
    ]
    return pa.Table.from_pylist(rows, schema=IMAGES)


def _shown(path: Path, folder: Path) -> str:
    """Return a path as seen from the folder of images, so that equal folders give equal tables."""
    base = folder if folder.is_dir() else folder.parent
    return Path(os.path.relpath(path, base)).as_posix()


def _prompts(finding: Finding, counted: Sequence[Scored]) -> pa.Table:
    """Give each prompt its own value of each column, for paired comparisons."""
    groups: dict[str, list[Scored]] = {}
    for one in counted:
        groups.setdefault(one.item.id, []).append(one)
    rows = []
    for item, group in groups.items():
        scores = [(one.item, one.image.index, one.scores) for one in group]
        for column in finding.benchmark.columns([group[0].item], scores, finding.mode):
            if column.value is not None and math.isfinite(column.value):
                rows.append({"item": item, "column": column.name, "value": float(column.value)})
    return pa.Table.from_pylist(rows, schema=PROMPTS)


def _short(given: Sequence[Any]) -> list[Any]:
    """Return answers for the table; what is large stands there by its size."""
    return [_short_one(one) for one in given]


def _short_one(answer: Any) -> Any:
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
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.item() if isinstance(value, np.generic) else value


def _not_finite(scores: Mapping[str, Any]) -> list[str]:
    return [name for name, value in scores.items() if isinstance(value, float) and not math.isfinite(value)]


def _finite(scores: Mapping[str, Any]) -> dict[str, Any]:
    bad = set(_not_finite(scores))
    return {name: str(value) if name in bad else value for name, value in scores.items()}
