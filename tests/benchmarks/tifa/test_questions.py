"""TIFA's files are read with their counts, and what is wrong with them is named by row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from silmm_benchmarks.benchmark_options import OfficialOptions
from silmm_benchmarks.data.text import LONGEST_PROMPT
from silmm_benchmarks.tifa.benchmark import Tifa
from silmm_benchmarks.tifa.official_data import FILES, QUESTIONS, TEXTS
from silmm_benchmarks.tifa.questions import CAPTIONS, TYPES, load_items, read_captions

from silmm.errors import DataError, UsageError
from silmm.storage.sha256_cache import sha256_file
from tests.conftest import OfficialData


def _row(key: object = "coco_1", **changes: Any) -> dict[str, Any]:
    row = {
        "id": key, "caption": f"caption of {key}", "question": "is this a dog?", "choices": ["yes", "no"],
        "answer": "yes", "element_type": "animal/human", "element": "dog",
    }  # fmt: skip
    return row | changes


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a data folder with these questions, and the captions that they name or the given ones."""

    def make(questions: Any, captions: Any = None) -> Path:
        if captions is None:
            captions = [
                {"id": key, "caption": f"caption of {key}"}
                for key in dict.fromkeys(row["id"] for row in questions)
            ]
        for name, content in ((TEXTS, captions), (QUESTIONS, questions)):
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return make


def test_captions_come_with_their_questions_in_the_captions_order(folder: Callable[..., Path]) -> None:
    """Items follow the captions' file; whole-number ids are strings; subsets come from the ids."""
    data = folder([_row("coco_1"), _row(7), _row("coco_1", question="is it red?", element_type="color")])
    (data / TEXTS).write_text(json.dumps([
        {"id": 7, "caption": "caption of 7"}, {"id": "coco_1", "caption": "caption of coco_1"},
    ]))  # fmt: skip
    items = Tifa(OfficialOptions(custom=True)).items(data)
    assert [(item.id, item.category, item.images) for item in items] == [
        ("7", "free-form", 1), ("coco_1", "coco", 1),
    ]  # fmt: skip
    assert [row["question"] for row in items[1].details["questions"]] == ["is this a dog?", "is it red?"]
    assert [item.id for item in Tifa(OfficialOptions(custom=True)).items(data, ["coco"])] == ["coco_1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "../etc/passwd"}, "row 2: the id '../etc/passwd' cannot be an image's file name"),
        ({"id": "a\\b"}, "row 2: the id"),
        ({"id": ".hidden"}, "row 2: the id"),
        ({"id": "x" * 300}, "row 2: the id"),
        ({"id": None}, "row 2: the id is None"),
        ({"id": True}, "row 2: the id is True"),
        ({"question": "  "}, "row 2: the question is"),
        ({"question": 5}, "row 2: the question is 5"),
        ({"caption": "x" * (LONGEST_PROMPT + 1)}, "row 2: the caption has 10001 characters"),
        ({"caption": "another"}, "row 2: the id 'coco_1' has another caption"),
        ({"question": "a \ud800 b"}, "row 2: the question holds a character that is not text"),
        ({"choices": "yes"}, "row 2: choices are 'yes'"),
        ({"choices": []}, "row 2: choices are"),
        ({"choices": [1, 2]}, "row 2: choices are"),
        ({"element_type": "vehicle"}, "row 2: the element type 'vehicle' is none of animal/human"),
        ({"answer": None}, "row 2: the answer is None"),
        ({"id": "coco_2"}, "row 2: no caption has the id 'coco_2'"),
    ],
)
def test_a_bad_question_is_named_by_row(
    folder: Callable[..., Path], change: dict[str, Any], message: str
) -> None:
    """Every malformed row is an error that names its row and what is wrong."""
    data = folder([_row(), _row() | change], [{"id": "coco_1", "caption": "caption of coco_1"}])
    with pytest.raises(DataError) as error:
        load_items(data, official=False)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("questions", "captions", "message"),
    [
        ([_row("a")], [{"id": k, "caption": f"caption of {k}"} for k in "aa"], "row 2: the id 'a' comes"),
        ([_row("a")], [{"id": k, "caption": f"caption of {k}"} for k in "ab"], "no question about caption"),
        ('[{"id": "a",', None, "broken JSON at line 1, column 13"),
        ("[" * 100_000, None, "is not a data file"),
        ({"id": "a"}, [], "expected a list of rows, not dict"),
        ([["a"]], [], "row 1: ['a'] is not an object"),
    ],
)
def test_bad_files_are_named(
    folder: Callable[..., Path], questions: Any, captions: Any, message: str
) -> None:
    """Duplicate ids, captions without questions and broken JSON stop with file and place."""
    with pytest.raises(DataError) as error:
        load_items(folder(questions, captions if captions is not None else []), official=False)
    assert message in str(error.value)


def test_what_is_not_utf8_or_not_there_is_named(tmp_path: Path) -> None:
    """A missing file and one in another encoding are data errors that name the file."""
    with pytest.raises(DataError, match=f"{TEXTS} cannot be read"):
        load_items(tmp_path)
    (tmp_path / TEXTS).write_bytes('[{"id": "a", "caption": "é"}]'.encode("latin-1"))
    with pytest.raises(DataError, match="is not UTF-8: byte 25"):
        load_items(tmp_path)


def test_unicode_captions_are_kept(folder: Callable[..., Path]) -> None:
    """Captions and ids in any script come through unchanged."""
    data = folder([_row("猫_1", caption="caption of 猫_1", question="是猫吗？ 🐈", answer="yes")])
    (item,) = load_items(data, official=False)
    assert (item.id, item.details["questions"][0]["question"]) == ("猫_1", "是猫吗？ 🐈")


def test_other_counts_than_the_official_ones_are_refused(folder: Callable[..., Path]) -> None:
    """A file with one caption is not TIFA v1.0, and the message tells both counts."""
    with pytest.raises(DataError, match=r"4081 captions and 25829 questions, but these files have 1 and 1"):
        Tifa().items(folder([_row()]))


def test_an_unknown_subset_is_a_usage_error(folder: Callable[..., Path]) -> None:
    """Asking for a category that TIFA does not have names those that it has."""
    with pytest.raises(UsageError, match="no category 'color'; it has coco, free-form"):
        Tifa(OfficialOptions(custom=True)).items(folder([_row()]), ["color"])


def test_the_official_captions(official_data: OfficialData) -> None:
    """The official captions have the counted number and sources, and the hash that is published here."""
    path = official_data(f"tifa/{TEXTS}")
    captions = read_captions(json.loads(path.read_text(encoding="utf-8")), TEXTS)
    assert len(captions) == CAPTIONS
    assert sum(key.startswith("coco_") for key in captions) == 2_000
    listed = FILES[0]
    assert (listed.sha256, listed.size) == (sha256_file(path), path.stat().st_size)


def test_the_fingerprint_names_each_file(folder: Callable[..., Path]) -> None:
    """The card can name the hash of both files."""
    data = folder([_row()])
    assert Tifa().fingerprint(data) == {name: sha256_file(data / name) for name in (TEXTS, QUESTIONS)}
    assert len(TYPES) == len(set(TYPES)) == 12
