"""GenEval's prompts are read line by line, and a wrong line is named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from silmm_benchmarks.benchmark_options import GenEvalOptions
from silmm_benchmarks.geneval.benchmark import GenEval
from silmm_benchmarks.geneval.prompts import CLASSES, TAGS, load_items, metadata_text

from silmm.errors import DataError, UsageError
from tests.conftest import OfficialData

GOOD = {"tag": "x", "include": [{"class": "dog", "count": 1}], "prompt": "a photo of a dog"}


def _write(folder: Path, *lines: Any) -> Path:
    path = folder / "evaluation_metadata.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def test_the_official_file_has_its_numbers(official_data: OfficialData) -> None:
    """553 prompts and 2,212 images in six tags, ids as folders have them, every line as it stands."""
    path = official_data("geneval/evaluation_metadata.jsonl")
    items = GenEval().items(path.parent)
    assert (len(items), sum(item.images for item in items)) == (553, 2212)
    assert {tag: sum(item.category == tag for item in items) for tag in TAGS} == {
        tag: number for tag, (_, number) in TAGS.items()
    }
    assert [item.id for item in items[:2]] == ["00000", "00001"]
    assert [metadata_text(item.details["metadata"]) for item in items] == path.read_text().splitlines()


def test_class_names_are_those_of_the_official_list() -> None:
    """80 names in the detector's order, three of them other than COCO's."""
    digest = hashlib.sha256("".join(f"{name}\n" for name in CLASSES).encode()).hexdigest()
    assert digest == "608f6a0e5c8ca1c7a92b818430141fe268c85b7930b50f4160f1d65893b5bacd"


def test_a_category_is_a_tag(tmp_path: Path) -> None:
    """--categories chooses tags, keeps ids, and names the tags that there are."""
    _write(tmp_path, GOOD, GOOD | {"tag": "y"}, GOOD)
    benchmark = GenEval(GenEvalOptions(custom=True, images=2))
    assert [(item.id, item.images) for item in benchmark.items(tmp_path, ["y"])] == [("00001", 2)]
    with pytest.raises(UsageError, match="It has x, y"):
        benchmark.items(tmp_path, ["z"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "no JSON object"),
        ("[1]", "no JSON object"),
        ("{", "no JSON object"),
        (GOOD | {"tag": None}, "the tag is None"),
        (GOOD | {"prompt": " "}, "the prompt is"),
        (GOOD | {"include": {"class": "dog"}}, "'include' is no list"),
        (GOOD | {"include": []}, "no clause"),
        (GOOD | {"include": [{"class": "mouse", "count": 1}]}, "the class 'mouse' is none of the detector's 80"),
        (GOOD | {"include": [{"class": "dog", "count": 0}]}, "the count 0"),
        (GOOD | {"include": [{"class": "dog", "count": True}]}, "the count True"),
        (GOOD | {"exclude": [{"class": "dog", "count": "2"}]}, "exclude 0: the count '2'"),
        (GOOD | {"include": [{"class": "dog", "count": 1, "color": "teal"}]}, "the color 'teal'"),
        (GOOD | {"include": [{"class": "dog", "count": 1, "position": ["above", 0]}]}, "the position"),
        (
            GOOD | {"include": [{"class": "dog", "count": 1}, {"class": "cat", "count": 1, "position": ["on", 0]}]},
            "include 1: the position",
        ),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: Any, message: str) -> None:
    """What the rules could not apply, or would apply with a surprise, is refused before anything is scored."""
    path = _write(tmp_path, GOOD, line)
    with pytest.raises(DataError, match="line 2") as raised:
        load_items(path, official=False)
    assert message in str(raised.value)


def test_a_part_of_the_official_file_is_refused(official_data: OfficialData, tmp_path: Path) -> None:
    """Runs with 544 of 553 prompts, which look like full ones, cannot happen."""
    lines = official_data("geneval/evaluation_metadata.jsonl").read_text().splitlines()
    path = _write(tmp_path, *lines[9:])
    with pytest.raises(DataError, match="'single_object': 71"):
        load_items(path)
    assert len(load_items(path, official=False)) == 544


def test_line_separators_inside_a_prompt_end_no_line(tmp_path: Path) -> None:
    """U+2028 belongs to its prompt; lines may end with CRLF."""
    line = json.dumps(GOOD | {"prompt": "a photo\u2028of a dog"}, ensure_ascii=False)
    (tmp_path / "p.jsonl").write_bytes(f"{line}\r\n{line}\r\n".encode())
    assert len(load_items(tmp_path / "p.jsonl", official=False)) == 2
