"""Reads the result files of `silmm bench`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.errors import DataError
from silmm.store import disk_errors, read_json, well_formed

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "silmm bench result"
FORMAT = 1
_REMEDY = "Name a result file that `silmm bench` wrote, or the folder that holds it."


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
    drawing: Mapping[str, Any]
    """How the pictures were drawn, as far as it is known."""
    card_sha256: str
    marks: tuple[str, ...]
    """Why it is no full result; empty for a full one."""
    numbers: Mapping[str, Number]
    left_out: tuple[str, ...]
    canaries_failed: Mapping[str, Sequence[str]]
    tables: Mapping[str, Mapping[str, str]]

    def table(self, name: str) -> pa.Table:
        """Return one of its tables ("pictures", "prompts"), checked against its hash.

        Raises:
            DataError: the file is missing or not the one that was written with the result.
        """
        from silmm.tables import from_parquet

        with well_formed(self.path, _REMEDY):
            path = self.path.with_name(Path(self.tables[name]["file"]).name)
            expected = self.tables[name]["sha256"]
        with disk_errors(path, "reading"):
            data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != expected:
            raise DataError(
                f"{path} is not the table that {self.path.name} was written with. Score again with the same "
                "command: what is judged is kept."
            )
        return from_parquet(data, path)


def find_results(places: Sequence[Path]) -> list[Result]:
    """Read result files; a folder stands for all that lie directly in it.

    Raises:
        DataError: a file is no result, or a folder holds none.
    """
    found = []
    for place in places:
        if not place.is_dir():
            found.append(read_result(place))
            continue
        inside = [path for path in sorted(place.glob("*.json")) if _is_result(path)]
        if not inside:
            raise DataError(f"{place} holds no result. {_REMEDY}")
        found += [read_result(path) for path in inside]
    return found


def read_result(path: Path) -> Result:
    """Read one result file.

    Raises:
        DataError: it is missing, no result, or of a newer format.
    """
    data = read_json(path, _REMEDY)
    if data.get("kind") != KIND:
        raise DataError(f"{path} is no result of `silmm bench`. {_REMEDY}")
    if data.get("format") != FORMAT:
        raise DataError(
            f"{path} has format {data.get('format')!r} and this silmm reads {FORMAT}. Score again with the "
            "same command: what is judged is kept."
        )
    with well_formed(path, _REMEDY):
        card = data["card"]
        return Result(
            path=path,
            benchmark=str(data["benchmark"]),
            title=str(data["title"]),
            mode=str(data["mode"]),
            model=str(data["model"]["name"]),
            scoring=dict(card["scoring"]),
            drawing=dict(card["drawing"]),
            card_sha256=str(card["sha256"]),
            marks=tuple(map(str, data["marks"])),
            numbers={str(one["name"]): _number(one) for one in data["columns"]},
            left_out=tuple(map(str, data["left_out"])),
            canaries_failed={
                str(role): tuple(map(str, told)) for role, told in data["canaries_failed"].items()
            },
            tables={str(name): dict(table) for name, table in data["tables"].items()},
        )


def _is_result(path: Path) -> bool:
    try:
        return read_json(path).get("kind") == KIND
    except DataError:
        return False


def _number(one: Mapping[str, Any]) -> Number:
    return Number(
        name=str(one["name"]),
        value=_float(one["value"]),
        low=_float(one["low"]),
        high=_float(one["high"]),
        prompts=int(one["prompts"]),
        images=int(one["images"]),
        note=str(one["note"]),
        detail=bool(one["detail"]),
    )


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
