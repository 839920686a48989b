"""Reads GenEval's prompts and checks them line by line (docs/spec/geneval.md 1)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from silmm.contracts.benchmarks import Item
from silmm.errors import DataError
from silmm_benchmarks.data.geneval_names import COLOURS, LABELS
from silmm_benchmarks.data.text import checked_text, read_text
from silmm_benchmarks.geneval.rules import RELATIONS

TAGS: Mapping[str, tuple[str, int]] = {
    "single_object": ("Single Object", 80),
    "two_object": ("Two Object", 99),
    "counting": ("Counting", 80),
    "colors": ("Colors", 94),
    "position": ("Position", 100),
    "color_attr": ("Color Attribution", 100),
}
"""Tag → its column and the number of its prompts, in official order."""
RENAMED = {"mouse": "computer mouse", "remote": "tv remote", "keyboard": "computer keyboard"}
"""COCO's label → GenEval's class, where they differ."""
CLASSES = tuple(RENAMED.get(label, label) for label in LABELS)
"""GenEval's 80 classes in the order of the detector's, as in `object_names.txt`."""
_TAKE = "`silmm data pull geneval` fetches the official file; --set geneval.custom=true takes prompts of your own"


def load_items(path: Path, *, official: bool = True, images: int = 4) -> list[Item]:
    """Read the prompts in the order of the file; an id is the line's number from 0, as folders of images have it.

    Each item's details hold the line's object as `metadata`; its category is the tag.

    Args:
        path: `evaluation_metadata.jsonl`, or any file of its form.
        official: demand the official tags and their numbers of prompts.
        images: images per prompt.

    Raises:
        DataError: the file is missing, malformed or has other numbers of prompts; names the line.
    """
    lines = read_text(path).removesuffix("\n").split("\n")
    metadata = [_checked(line.removesuffix("\r"), f"{path.name}, line {n}") for n, line in enumerate(lines, 1)]
    if official:
        counts = Counter(line["tag"] for line in metadata)
        wanted = {tag: number for tag, (_, number) in TAGS.items()}
        if counts != wanted:
            raise DataError(f"{path} has {dict(counts)} prompts by tag instead of {wanted}. {_TAKE}.")
    return [
        Item(f"{number:05d}", line["prompt"], line["tag"], images, {"metadata": line})
        for number, line in enumerate(metadata)
    ]


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """Return metadata as the official evaluator writes them, which tells prompts apart in its summary."""
    return json.dumps(metadata)


def parse_metadata(text: str, where: str) -> dict[str, Any]:
    """Return the JSON object of a line or of a folder's `metadata.jsonl`.

    Raises:
        DataError: it is none.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: {text[:80]!r} is no JSON object ({error}). {_TAKE}.") from error
    if not isinstance(value, dict):
        raise DataError(f"{where}: {text[:80]!r} is no JSON object. {_TAKE}.")
    return value


def _checked(text: str, where: str) -> dict[str, Any]:
    """Return a line's object, whose clauses the rules can apply without a surprise."""
    metadata = parse_metadata(text, where)
    checked_text(metadata.get("tag"), where, "tag")
    checked_text(metadata.get("prompt"), where, "prompt")
    for key in ("include", "exclude"):
        clauses = metadata.get(key, [])
        if not isinstance(clauses, list) or not all(isinstance(clause, dict) for clause in clauses):
            raise DataError(f"{where}: {key!r} is no list of objects; correct that line.")
        for number, clause in enumerate(clauses):
            _check_clause(clause, number, f"{where}, {key} {number}")
    if not metadata.get("include") and not metadata.get("exclude"):
        raise DataError(f"{where}: no clause, so that every image would be right; correct that line.")
    return metadata


def _check_clause(clause: Mapping[str, Any], number: int, where: str) -> None:
    name, count = clause.get("class"), clause.get("count")
    if name not in CLASSES:
        raise DataError(f"{where}: the class {name!r:.80} is none of the detector's 80; correct that line.")
    if not _whole(count) or int(count or 0) < 1:
        raise DataError(f"{where}: the count {count!r:.80} is no number from 1 on; correct that line.")
    if "color" in clause and clause["color"] not in COLOURS:
        raise DataError(f"{where}: the color {clause['color']!r:.80} is none of {', '.join(COLOURS)}.")
    if "position" in clause:
        _check_position(clause["position"], number, where)


def _check_position(position: Any, number: int, where: str) -> None:
    well_formed = isinstance(position, list) and len(position) == 2 and position[0] in RELATIONS
    if not well_formed or not _whole(position[1]) or not 0 <= position[1] < number:
        raise DataError(
            f"{where}: the position {position!r:.80} is not [relation, number of an earlier clause]; relations are "
            f"{', '.join(RELATIONS)}."
        )


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def categories_of(items: Sequence[Item]) -> list[str]:
    """Return the tags of the items in order of first appearance."""
    return list(dict.fromkeys(item.category for item in items))
