"""Reads the parts of a run directory that a report shows; what a run has not made yet is absent."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from silmm.errors import DataError
from silmm.storage.atomic_files import disk_errors
from silmm.storage.json_files import read_json, well_formed
from silmm.storage.shards import Shards

_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ITERATION = re.compile(r"iter-([1-9][0-9]*)")

TableRow: TypeAlias = "dict[str, Any]"
"""A row of a stored table by column."""


@dataclass(frozen=True)
class IterationRecord:
    """What one iteration stored."""

    number: int
    folder: Path
    prompts: Sequence[TableRow]
    scores: Sequence[TableRow]
    pairs: Sequence[TableRow]
    """Without the image tokens."""
    steps: Sequence[Mapping[str, float]]
    """Metrics of each optimizer step, in order, each with its "step"."""
    rejected: Mapping[str, int]
    """Number of prompts that were rejected, by reason."""


@dataclass(frozen=True)
class RunRecord:
    """What a report shows of a run."""

    folder: Path
    settings: Mapping[str, Any]
    summary: Mapping[str, Any]
    """The evaluation, or empty before there is one."""
    iterations: Sequence[IterationRecord]
    images: Mapping[str, Path]
    """The benchmark's sampled images: model ("before", then "1", …) to a folder of shards.

    Their columns: prompt_id, prompt, category, image_index, image, statements, questions, holds (the judge's
    verdicts), p_yes and p_no (the model's own answers, or null).
    """
    continuous: bool = False
    """Whether its representations are features, not image tokens."""


def read_run(folder: Path) -> RunRecord:
    """Read a run directory.

    Raises:
        DataError: it is no run directory, or a file in it is damaged.
    """
    require_run(folder)
    stored = read_json(folder / "run.json")
    summary = folder / "summary.json"
    iterations = [_iteration(number, path) for number, path in _iteration_folders(folder)]
    return RunRecord(
        folder=folder,
        settings=stored.get("settings", stored),
        summary=read_json(summary) if summary.is_file() else {},
        iterations=iterations,
        images=_images(folder / "eval"),
        continuous=any(_has_features(iteration) for iteration in iterations[:1]),
    )


def require_run(folder: Path) -> None:
    """Refuse a folder that is no run directory.

    Raises:
        DataError: it has no run.json.
    """
    if not (folder / "run.json").is_file():
        raise DataError(
            f"{folder} is not a run directory: it has no run.json; give the directory that "
            "`silmm run` names at its end"
        )


def rows_where(
    folder: Path, column: str, accepted: frozenset[str], columns: Sequence[str] | None = None
) -> list[TableRow]:
    """Return the rows of a table whose `column` is one of `accepted`; other shards' images stay unread."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows: list[TableRow] = []
    shards = stored_shards(folder)
    for index in range(shards.count):
        keys = shards.read(index, [column]).column(column)
        hit = pc.is_in(keys, value_set=pa.array(sorted(accepted), pa.string()))
        if pc.any(hit).as_py():
            rows += shards.read(index, columns).filter(hit).to_pylist()
    return rows


def all_rows(folder: Path, columns: Sequence[str] | None = None) -> list[TableRow]:
    """Return all committed rows of a table, or none if there is no such table."""
    shards = stored_shards(folder)
    return [row for table in shards.tables(columns) for row in table.to_pylist()]


def stored_shards(folder: Path) -> Shards:
    """Return the shards of a folder up to the first that is not committed yet."""
    count = 0
    while Shards(folder, count + 1).done(count):
        count += 1
    return Shards(folder, count)


def _iteration_folders(folder: Path) -> list[tuple[int, Path]]:
    numbered = ((_ITERATION.fullmatch(path.name), path) for path in folder.iterdir() if path.is_dir())
    return sorted((int(match[1]), path) for match, path in numbered if match)


def _iteration(number: int, folder: Path) -> IterationRecord:
    return IterationRecord(
        number=number,
        folder=folder,
        prompts=all_rows(folder / "prompts"),
        scores=all_rows(folder / "scores"),
        pairs=all_rows(
            folder / "pairs", ["prompt_id", "chosen", "rejected", "chosen_score", "rejected_score"]
        ),
        steps=_steps(folder / "metrics.jsonl"),
        rejected=_counts(folder / "prompter.json"),
    )


def _has_features(iteration: IterationRecord) -> bool:
    """Say whether candidates, or else a user's own pairs, have no image tokens."""
    for table, column in (("candidates", "z"), ("pairs", "chosen_z")):
        shards = stored_shards(iteration.folder / table)
        if shards.count:
            tokens = shards.read(0, [column]).column(column)
            return bool(len(tokens)) and int(tokens.null_count) == len(tokens)
    return False


def _steps(path: Path) -> list[dict[str, float]]:
    """Read one JSON object per line; a last line that a kill cut short is left out."""
    if not path.is_file():
        return []
    with disk_errors(path, "reading"):
        lines = path.read_bytes().splitlines(keepends=True)
    steps = []
    for line in lines:
        if not line.endswith(b"\n"):
            break
        try:
            values = json.loads(line)
        except ValueError as error:
            raise DataError(
                f"{path} holds a line that is not JSON ({error}); run the same command again"
            ) from error
        with well_formed(path, "Run the same command again."):
            steps.append({k: math.nan if v is None else float(v) for k, v in values.items()})
    return steps


def _counts(path: Path) -> dict[str, int]:
    """Read the prompter's counts, at the top level or under "rejected"."""
    if not path.is_file():
        return {}
    stored = read_json(path)
    counts = stored.get("rejected", stored)
    return {str(k): v for k, v in counts.items() if isinstance(v, int)}


def _images(work: Path) -> dict[str, Path]:
    index = work / "images.json"
    if not index.is_file():
        return {}
    folders = {}
    for model, name in by_iteration(read_json(index)).items():
        # A name from a file becomes a path only if it is a plain folder name.
        if not (isinstance(name, str) and _FOLDER.fullmatch(name)):
            raise DataError(
                f"{index} names no plain folder for {model!r}: {name!r}; remove the file"
            )
        folders[str(model)] = work / name
    return folders


def by_iteration(by_model: Mapping[str, Any]) -> dict[str, Any]:
    """Put "before" first and then the iterations by number, whatever their order in a file."""

    def position(name: str) -> tuple[bool, int, str]:
        return name != "before", int(name) if name.isdecimal() else 0, name

    return {name: by_model[name] for name in sorted(by_model, key=position)}


def group(rows: Sequence[TableRow], key: Callable[[TableRow], str]) -> dict[str, list[TableRow]]:
    """Sort rows into lists by key, in order of first appearance."""
    groups: dict[str, list[TableRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups
