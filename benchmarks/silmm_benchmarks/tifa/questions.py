"""Reads TIFA's captions and questions and checks them row by row (docs/spec/benchmarks.md 2.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from silmm.contracts.benchmarks import Item
from silmm.errors import DataError
from silmm_benchmarks.data.text import checked_id, checked_text, read_json
from silmm_benchmarks.tifa.official_data import QUESTIONS, TEXTS

CAPTIONS = 4_081
"""Captions of TIFA v1.0."""
QUESTION_COUNT = 25_829
"""Questions of TIFA v1.0, as its paper counts them."""

TYPES = (
    "animal/human", "object", "location", "activity", "color", "spatial", "attribute", "food", "counting",
    "material", "other", "shape",
)  # fmt: skip
"""The twelve element types, in the order of the paper's columns."""

COCO, FREE_FORM = "coco", "free-form"
SUBSETS = (COCO, FREE_FORM)
"""TIFA reports captions of COCO apart from those that people made up."""


def load_items(data: Path, *, official: bool = True) -> list[Item]:
    """Read the captions of `data` with their questions, in the order of the captions' file.

    Args:
        data: a folder with the two files of TIFA v1.0, or one JSON file of questions in their form.
        official: demand the official counts.

    Raises:
        DataError: a file is missing, malformed, or has other counts; names the row.
    """
    if data.suffix == ".json":
        items = from_questions(read_json(data), data.name)
    else:
        captions = read_captions(read_json(data / TEXTS), TEXTS)
        items = from_questions(read_json(data / QUESTIONS), QUESTIONS, captions)
    if official:
        _check_counts(items)
    return items


def read_captions(rows: object, name: str) -> dict[str, str]:
    """Return id → caption, in file order.

    Raises:
        DataError: not a list of captions, or an id comes twice; names the row.
    """
    captions: dict[str, str] = {}
    for number, row in enumerate(_records(rows, name), start=1):
        where = f"{name}, row {number}"
        key = _id(row, where)
        if key in captions:
            raise DataError(f"{where}: the id {key!r} comes twice; each caption needs an id of its own.")
        captions[key] = checked_text(row.get("caption"), where, "caption")
    return captions


def from_questions(rows: object, name: str, captions: Mapping[str, str] | None = None) -> list[Item]:
    """Return one item per caption from the questions' rows, in the order of `captions` or of the rows.

    Raises:
        DataError: a row is malformed, belongs to no caption, or a caption has no question; names the row.
    """
    questions_of: dict[str, list[dict[str, Any]]] = {key: [] for key in captions or ()}
    texts = dict(captions or {})
    for number, row in enumerate(_records(rows, name), start=1):
        where = f"{name}, row {number}"
        key, record = _id(row, where), _question(row, where)
        if captions is not None and key not in captions:
            raise DataError(f"{where}: no caption has the id {key!r}; fetch both files from one revision.")
        if texts.setdefault(key, record["caption"]) != record["caption"]:
            raise DataError(f"{where}: the id {key!r} has another caption elsewhere; ids must be unique.")
        questions_of.setdefault(key, []).append(record | {"id": key})
    for key, questions in questions_of.items():
        if not questions:
            raise DataError(f"{name}: no question about caption {key!r}; it could not be scored.")
    return [
        Item(id=key, prompt=texts[key], category=subset(key), details={"questions": questions})
        for key, questions in questions_of.items()
    ]


def subset(key: str) -> str:
    """Return the subset of a caption by its official id: COCO, or free-form (the other three sources)."""
    return COCO if key.startswith("coco_") else FREE_FORM


def _question(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    record = {"id": row["id"]} | {
        field: checked_text(row.get(field), where, field) for field in ("caption", "question", "answer")
    }
    choices = row.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, str) for choice in choices):
        raise DataError(f"{where}: choices are {choices!r:.80}, not a list of texts; correct that row.")
    kind = row.get("element_type")
    if kind not in TYPES:
        raise DataError(f"{where}: the element type {kind!r:.80} is none of {', '.join(TYPES)}.")
    fields = {"choices": choices, "element_type": kind, "element": row.get("element", "")}
    return record | fields | ({"coco_val_id": row["coco_val_id"]} if "coco_val_id" in row else {})


def _records(rows: object, name: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(rows, list):
        raise DataError(f"{name}: expected a list of rows, not {type(rows).__name__}; fetch the file again.")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{name}, row {number}: {row!r:.80} is not an object; correct that row.")
    return rows


def _id(row: Mapping[str, Any], where: str) -> str:
    """Ids are looked up as strings; whole numbers are taken for theirs."""
    value = row.get("id")
    return checked_id(str(value) if type(value) is int else value, where)


def _check_counts(items: Sequence[Item]) -> None:
    count = sum(len(item.details["questions"]) for item in items)
    if (len(items), count) != (CAPTIONS, QUESTION_COUNT):
        raise DataError(
            f"TIFA v1.0 has {CAPTIONS} captions and {QUESTION_COUNT} questions, but these files have "
            f"{len(items)} and {count}; fetch them again with `silmm data pull tifa`, or give "
            "--set tifa.custom=true for captions of your own."
        )
