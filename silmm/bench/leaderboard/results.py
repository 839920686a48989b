"""Reads the result files of `silmm bench`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.contracts.options import canonical
from silmm.errors import DataError
from silmm.printable import printable
from silmm.storage.atomic_files import disk_errors
from silmm.storage.json_files import read_json, well_formed

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "silmm bench result"
FORMAT = 1
_REMEDY = "Name a result file that `silmm bench` wrote, or the folder that holds it."
_AGAIN = "Score again with the same command: the judges' answers are kept."
SEAL = "sha256"
"""Field of a result file with the hash of all its others."""
_END = 1 + 1e-6
"""The largest value of a column; a cosine may pass 1 by its rounding."""


@dataclass(frozen=True)
class Number:
    """One column of a result; fractions of 1."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    prompts: int
    images: int
    note: str
    detail: bool


@dataclass(frozen=True)
class Result:
    """One benchmark's result of one model."""

    path: Path
    benchmark: str
    title: str
    mode: str
    model: str
    """How tables call it."""
    scoring: Mapping[str, Any]
    """The part of the protocol card that must be equal for a fair comparison."""
    sampling: Mapping[str, Any]
    """How the images were sampled, as far as the result records it."""
    card_sha256: str
    marks: tuple[str, ...]
    """Why it is no full result; empty for a full one."""
    numbers: Mapping[str, Number]
    left_out: tuple[str, ...]
    canaries_failed: Mapping[str, Sequence[str]]
    tables: Mapping[str, Mapping[str, str]]

    def canary_texts(self) -> list[str]:
        """Return one sentence per role whose judge fails canaries."""
        return [
            f"{self.model}: the judge for {role} fails canaries: {'; '.join(failed)}"
            for role, failed in self.canaries_failed.items()
        ]

    def table(self, name: str) -> pa.Table:
        """Return one of its tables ("images", "prompts"), checked against its hash.

        Raises:
            DataError: the file is missing or not the one that was written with the result.
        """
        from silmm.storage.tables import from_parquet

        with well_formed(self.path, _REMEDY):
            path = self.path.with_name(Path(self.tables[name]["file"]).name)
            expected = self.tables[name]["sha256"]
        with disk_errors(path, "reading"):
            data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != expected:
            raise DataError(f"{path} is not the table that {self.path.name} was written with. {_AGAIN}")
        return from_parquet(data, path)


def find_results(paths: Sequence[Path]) -> list[Result]:
    """Read result files, each once; a folder stands for all result files directly in it.

    Raises:
        DataError: a file is no result, or a folder holds none.
    """
    results: dict[Path, Result] = {}
    for path in paths:
        files = [path]
        if path.is_dir():
            files = [file for file in sorted(path.glob("*.json")) if _is_result(file)]
        if not files:
            raise DataError(f"{path} holds no result. {_REMEDY}")
        for file in files:
            if file.resolve() not in results:
                results[file.resolve()] = read_result(file)
    return list(results.values())


def seal(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a result file's content but for its own field.

    It keeps changes by hand off leaderboards; it is no signature.
    """
    rest = {key: value for key, value in content.items() if key != SEAL}
    return hashlib.sha256(canonical(rest).encode()).hexdigest()


def read_result(path: Path) -> Result:
    """Read one result file.

    Raises:
        DataError: it is missing, no result, of another format, or changed since it was written.
    """
    data = read_json(path, _REMEDY)
    if data.get("kind") != KIND:
        raise DataError(f"{path} is no result of `silmm bench`. {_REMEDY}")
    if data.get("format") != FORMAT:
        raise DataError(
            f"{path} has format {data.get('format')!r:.40} and this silmm reads {FORMAT}. {_AGAIN}"
        )
    with well_formed(path, _AGAIN):
        sealed = data.get(SEAL) == seal(data)
    if not sealed:
        raise DataError(f"{path} was changed after `silmm bench` wrote it: its content has another SHA-256. {_AGAIN}")
    with well_formed(path, _AGAIN):
        card = data["card"]
        return Result(
            path=path,
            benchmark=printable(str(data["benchmark"])),
            title=printable(str(data["title"])),
            mode=printable(str(data["mode"])),
            model=printable(str(data["model"]["name"])),
            scoring=dict(card["scoring"]),
            sampling=dict(card["sampling"]),
            card_sha256=str(card["sha256"]),
            marks=tuple(printable(str(mark)) for mark in data["marks"]),
            numbers={printable(str(column["name"])): _number(column) for column in data["columns"]},
            left_out=tuple(printable(str(role)) for role in data["left_out"]),
            canaries_failed={
                printable(str(role)): tuple(printable(str(failure)) for failure in failures)
                for role, failures in data["canaries_failed"].items()
            },
            tables={str(name): dict(table) for name, table in data["tables"].items()},
        )


def _is_result(path: Path) -> bool:
    try:
        return read_json(path).get("kind") == KIND
    except DataError:
        return False


def _number(column: Mapping[str, Any]) -> Number:
    return Number(
        name=printable(str(column["name"])),
        value=_float(column["value"]),
        low=_float(column["low"]),
        high=_float(column["high"]),
        prompts=int(column["prompts"]),
        images=int(column["images"]),
        note=printable(str(column["note"])),
        detail=bool(column["detail"]),
    )


def _float(value: Any) -> float | None:
    """Return a fraction; NaN and values that no column can have are refused."""
    number = None if value is None else float(value)
    if number is not None and not -_END <= number <= _END:
        raise ValueError(f"{number} is not a fraction of 1")
    return number
