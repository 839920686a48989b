"""Reads DPG-Bench's question table and prompts and checks them row by row (docs/spec/benchmarks.md 3.1)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from silmm.contracts.benchmarks import Item
from silmm.errors import DataError
from silmm_benchmarks.data.text import checked_id, checked_text, read_text

PROMPTS = 1_065
"""Prompts of DPG-Bench."""

_FIELDS = ("item_id", "text", "proposition_id", "dependency", "tuple", "question_natural_language")
_NUMBER = re.compile(r"[0-9]{1,6}")
_SHOWN = 5  # defects of one kind that an error names


def load_items(path: Path, *, official: bool = True, images: int = 4) -> list[Item]:
    """Read the questions, one item per prompt, in the order of the file.

    Each item's details hold its `questions`: `id`, `parents`, `category` (the tuple's head, as
    "entity - whole"), `text`, and `first_row`, true for the one question that the official script skips.

    Args:
        path: `dpg_bench.csv`, or any file with its columns (DSG's annotations).
        official: demand the official number of prompts. Official questions are taken as they are; in other
            files, questions that depend on each other in a circle are refused.
        images: images per prompt.

    Raises:
        DataError: the file is missing, malformed or has another number of prompts; names the line.
    """
    prompts: dict[str, str] = {}
    questions_of: dict[str, list[dict[str, Any]]] = {}
    lines: dict[tuple[str, int], int] = {}
    last = ""
    for line, row in _rows(path):
        where = f"{path.name}, line {line}"
        item, question = checked_id(row["item_id"], where), _question(row, where)
        if "." in item:
            raise DataError(f"{where}: the id {item!r} has a dot; ids end at a file name's first dot.")
        if item != last and item in questions_of:
            raise DataError(f"{where}: the id {item!r} comes again; its rows must stand together.")
        text = checked_text(row["text"], where, "prompt")
        if prompts.setdefault(item, text) != text:
            raise DataError(f"{where}: {item!r} has another prompt than in its rows above; ids are unique.")
        if (item, question["id"]) in lines:
            raise DataError(f"{where}: {item!r} has two questions {question['id']}; number them apart.")
        lines[item, question["id"]] = line
        questions_of.setdefault(item, []).append(question | {"first_row": not last})
        last = item
    _check_parents(path.name, questions_of, lines)
    if official and len(questions_of) != PROMPTS:
        raise DataError(
            f"DPG-Bench has {PROMPTS} prompts, but {path} has {len(questions_of)}; "
            "fetch it again with `silmm data pull dpg-bench`, or give --set dpg-bench.custom=true for "
            "prompts of your own."
        )
    if not official:
        _refuse_circles(path.name, questions_of, lines)
    return [
        Item(item, prompts[item], "", images, {"questions": questions}) for item, questions in questions_of.items()
    ]


def read_prompts(folder: Path) -> dict[str, str]:
    """Return id → prompt from the official folder of ``<id>.txt``.

    Raises:
        DataError: a file is not a prompt; names it.
    """
    return {
        checked_id(path.stem, str(path)): checked_text(read_text(path), str(path), "prompt").rstrip("\n")
        for path in sorted(folder.glob("*.txt"))
    }


def circular(questions: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the questions that depend on themselves through others, in order.

    A question that names itself is none: that changes no score.
    """
    parents = {question["id"]: set(question["parents"]) - {question["id"]} for question in questions}
    changed = True
    while changed:  # take away what depends on nothing that is left, from the roots on
        free = {key for key, above in parents.items() if not above & parents.keys()}
        parents = {key: above for key, above in parents.items() if key not in free}
        changed = bool(free)
    return [key for key in parents if _reaches(key, parents)]


def _reaches(start: int, parents: Mapping[int, set[int]]) -> bool:
    """Return whether a question is among its own ancestors."""
    visited: set[int] = set()
    ahead = set(parents[start])
    while ahead:
        key = ahead.pop()
        if key == start:
            return True
        if key not in visited:
            visited.add(key)
            ahead |= parents.get(key, set())
    return False


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield each row with the line that it begins on."""
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        missing = [name for name in _FIELDS if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError(f"{path}: the first line names no column {missing[0]!r}; fetch the file again.")
        line = first = reader.line_num + 1
        for row in reader:
            if None in row or None in row.values():
                raise DataError(f"{path.name}, line {line}: not one field per column; correct it.")
            yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path.name}, line {reader.line_num + 1}: broken CSV ({error}); correct it."
        ) from error
    if line == first:
        raise DataError(f"{path} holds no question; fetch it again.")


def _question(row: Mapping[str, str], where: str) -> dict[str, Any]:
    number = row["proposition_id"].strip()
    parents = [parent.strip() for parent in row["dependency"].split(",")]
    if not _NUMBER.fullmatch(number) or int(number) < 1:
        raise DataError(f"{where}: proposition_id is {number!r:.80}, not a number from 1 on; correct it.")
    for parent in parents:
        if not _NUMBER.fullmatch(parent):
            raise DataError(
                f"{where}: dependency is {row['dependency']!r:.80}; it holds question numbers, or 0."
            )
    return {
        "id": int(number),
        "parents": [int(parent) for parent in parents if int(parent)],
        "category": checked_text(row["tuple"], where, "tuple").split("(")[0].strip(),
        "text": checked_text(row["question_natural_language"], where, "question"),
    }


def _check_parents(
    name: str, questions_of: Mapping[str, Sequence[Mapping[str, Any]]], lines: Mapping[tuple[str, int], int]
) -> None:
    _refuse(name, "depends on a question that {item!r} does not have", [
        (lines[item, question["id"]], item)
        for item, questions in questions_of.items()
        for question in questions
        if any((item, parent) not in lines for parent in question["parents"])
    ])  # fmt: skip


def _refuse_circles(
    name: str, questions_of: Mapping[str, Sequence[Mapping[str, Any]]], lines: Mapping[tuple[str, int], int]
) -> None:
    _refuse(name, "depends on itself through other questions of {item!r}", [
        (lines[item, key], item) for item, questions in questions_of.items() for key in circular(questions)
    ])  # fmt: skip


def _refuse(name: str, what: str, defects: Sequence[tuple[int, str]]) -> None:
    if defects:
        shown = "; ".join(f"{name}, line {line}: {what.format(item=item)}" for line, item in defects[:_SHOWN])
        more = f"; and {len(defects) - _SHOWN} more" if len(defects) > _SHOWN else ""
        raise DataError(f"{shown}{more}. Correct those rows.")
