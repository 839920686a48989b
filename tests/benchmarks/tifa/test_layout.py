"""Images of captions are found by name or by TIFA's JSON, and nothing is passed over in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from silmm_benchmarks.benchmark_options import OfficialOptions
from silmm_benchmarks.tifa.benchmark import Tifa

from silmm.contracts.benchmarks import Item
from silmm.errors import DataError
from tests.conftest import OfficialData

ITEMS = [Item("coco_1", "a dog", "coco"), Item("drawbench_2", "a cat", ""), Item("3", "x", "")]


def _files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"image")


def test_a_folder_is_matched_by_name(tmp_path: Path) -> None:
    """Images come in the captions' order; missing, extra and doubled ones are named."""
    _files(tmp_path, "drawbench_2.jpg", "coco_1.png", "coco_1.jpeg", "notes.txt", "other.png")
    found = Tifa().find(tmp_path, ITEMS)
    assert [(image.item, image.path.name) for image in found.images] == [
        ("coco_1", "coco_1.jpeg"), ("drawbench_2", "drawbench_2.jpg"),
    ]  # fmt: skip
    assert {(problem.kind, problem.where) for problem in found.problems} == {
        ("duplicate", "coco_1"), ("extra", "notes.txt"), ("extra", "other.png"), ("missing", "3"),
    }  # fmt: skip


def test_the_json_of_ids_is_relative_to_its_folder(tmp_path: Path) -> None:
    """TIFA's own JSON is read, its paths from where it lies."""
    (tmp_path / "images").mkdir()
    _files(tmp_path / "images", "one.png")
    paths = {"coco_1": "images/one.png", "3": "gone.png", "zzz": "a.png"}
    (tmp_path / "map.json").write_text(json.dumps(paths))
    found = Tifa().find(tmp_path / "map.json", ITEMS)
    assert [image.path for image in found.images] == [tmp_path / "images/one.png"]
    assert {(problem.kind, problem.where) for problem in found.problems} == {
        ("missing", "drawbench_2"), ("missing", "3"), ("extra", "zzz"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["../secret.png", "a/../../s.png", "/etc/s.png", "C:\\s.png", "a\\..\\..\\s.png", 5, ""]
)
def test_paths_that_leave_the_folder_are_not_followed(tmp_path: Path, name: object) -> None:
    """A path from data leads nowhere but below the JSON's folder."""
    (tmp_path / "in").mkdir()
    _files(tmp_path, "secret.png", "s.png")
    (tmp_path / "in" / "map.json").write_text(json.dumps({"coco_1": name}))
    found = Tifa().find(tmp_path / "in" / "map.json", ITEMS[:1])
    assert not found.images
    assert [(problem.kind, problem.where) for problem in found.problems] == [("unreadable", "coco_1")]


def test_what_is_no_map_is_refused(tmp_path: Path) -> None:
    """A list, and a place that is not there, are data errors."""
    (tmp_path / "map.json").write_text("[]")
    with pytest.raises(DataError, match="expected an object of id"):
        Tifa().find(tmp_path / "map.json", ITEMS)
    with pytest.raises(DataError, match="neither a folder"):
        Tifa().find(tmp_path / "nowhere", ITEMS)


def test_what_is_generated_is_found(tmp_path: Path) -> None:
    """Each caption's target is where `find` looks."""
    benchmark = Tifa()
    for item in ITEMS:
        benchmark.target(tmp_path, item, 0).write_bytes(b"image")
    found = benchmark.find(tmp_path, ITEMS)
    assert [image.item for image in found.images] == [item.id for item in ITEMS]
    assert not found.problems
    assert len({benchmark.seed(item, 0) for item in ITEMS}) == len(ITEMS)


def test_the_official_sample_layout(official_data: OfficialData) -> None:
    """The sample's JSON of paths is read as the official script reads it."""
    place = official_data("tifa/sample_imgs.json").parent
    items = Tifa(OfficialOptions(custom=True)).items(place / "sample_question_answers.json")
    names = json.loads((place / "sample_imgs.json").read_text())
    found = Tifa().find(place / "sample_images", items)
    assert {image.item: image.path.name for image in found.images} == names
    assert [(problem.kind, problem.where) for problem in found.problems] == [("extra", "drawbench_8.jpg")]
