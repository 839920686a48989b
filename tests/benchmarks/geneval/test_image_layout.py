"""GenEval's folders of images: what is taken, which prompt a folder belongs to, what is told of the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from silmm_benchmarks.benchmark_options import GenEvalOptions
from silmm_benchmarks.geneval.benchmark import GenEval
from silmm_benchmarks.geneval.image_layout import STRAY

from silmm.contracts.benchmarks import Item, JudgedImage, Mode
from silmm.errors import DataError

BENCHMARK = GenEval(GenEvalOptions(custom=True, images=2))


def _item(number: int, name: str) -> Item:
    metadata = {"tag": "x", "include": [{"class": name, "count": 1}], "prompt": f"a photo of a {name}"}
    return Item(f"{number:05d}", metadata["prompt"], "x", 2, {"metadata": metadata})


ITEMS = [_item(0, "dog"), _item(1, "cat")]


def _fill(folder: Path, item: Item, names: tuple[str, ...] = ("00000.png", "00001.png"), metadata: Any = None) -> Path:
    """Write empty images and the metadata of a folder; `metadata` False leaves those out."""
    (folder / "samples").mkdir(parents=True)
    for name in names:
        (folder / "samples" / name).touch()
    if metadata is not False:
        (folder / "metadata.jsonl").write_text(metadata or json.dumps(item.details["metadata"]))
    return folder


def _problems(folder: Path) -> list[tuple[str, str]]:
    return [(problem.kind, problem.where) for problem in BENCHMARK.find(folder, ITEMS).problems]


def test_what_is_generated_is_found_again(tmp_path: Path) -> None:
    """Targets and metadata give a folder that the official evaluator reads and `find` matches whole."""
    for item in ITEMS:
        for index in range(2):
            path = BENCHMARK.target(tmp_path, item, index)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        for path, text in BENCHMARK.accompanying_files(tmp_path, item).items():
            path.write_text(text)
    assert json.loads((tmp_path / "00001" / "metadata.jsonl").read_text()) == ITEMS[1].details["metadata"]
    assert (tmp_path / "00001" / "samples" / "00000.png").is_file()
    found = BENCHMARK.find(tmp_path, ITEMS)
    assert found.problems == ()
    assert [(image.item, image.index) for image in found.images] == [
        ("00000", 0), ("00000", 1), ("00001", 0), ("00001", 1),
    ]  # fmt: skip


def test_a_folder_belongs_to_the_prompt_of_its_metadata(tmp_path: Path) -> None:
    """Its number counts only where it has no metadata."""
    _fill(tmp_path / "7", ITEMS[0])
    _fill(tmp_path / "1", ITEMS[1], metadata=False)
    found = BENCHMARK.find(tmp_path, ITEMS)
    assert found.problems == ()
    assert {(image.item, image.path.parent.parent.name) for image in found.images} == {("00000", "7"), ("00001", "1")}


def test_rewritten_prompts_are_not_mixed_in(tmp_path: Path) -> None:
    """A folder whose metadata are no line of the prompts is extra, whatever its number."""
    _fill(tmp_path / "00000", ITEMS[0], metadata=json.dumps(ITEMS[0].details["metadata"] | {"prompt": "a long text"}))
    _fill(tmp_path / "00009", ITEMS[0], metadata=False)
    assert _problems(tmp_path) == [("extra", "00000"), ("extra", "00009")]


def test_broken_metadata_are_a_problem_of_their_prompt(tmp_path: Path) -> None:
    """Cut off, of another kind or not UTF-8: the folder is named and not scored."""
    _fill(tmp_path / "00000", ITEMS[0], metadata="{")
    _fill(tmp_path / "00001", ITEMS[1])
    (tmp_path / "00001" / "metadata.jsonl").write_bytes(b"\xff{}")
    found = BENCHMARK.find(tmp_path, ITEMS)
    assert [(problem.kind, problem.item) for problem in found.problems] == [
        ("unreadable", "00000"), ("unreadable", "00001"),
    ]  # fmt: skip
    assert found.images == ()


def test_missing_images_and_other_formats_are_told(tmp_path: Path) -> None:
    """A JPEG is not read by the official evaluator; the message says to convert it. Hidden files are ignored."""
    _fill(tmp_path / "00000", ITEMS[0], ("00000.png", "00001.jpg", "notes.txt", "._00000.png"))
    found = BENCHMARK.find(tmp_path, ITEMS)
    assert [(problem.kind, problem.where) for problem in found.problems] == [
        ("extra", "00000/samples/00001.jpg"), ("extra", "00000/samples/notes.txt"), ("missing", "00000"),
    ]  # fmt: skip
    assert "convert it" in found.problems[0].what
    assert "1 of 2 images" in found.problems[2].what


def test_more_images_than_asked_for_stop_the_run(tmp_path: Path) -> None:
    """Official scripts weigh them all; here that is a problem, and with --allow-missing they are all scored."""
    _fill(tmp_path / "00000", ITEMS[0], ("0.png", "1.png", "2.png"))
    _fill(tmp_path / "00001", ITEMS[1])
    _fill(tmp_path / "1", ITEMS[1])
    found = BENCHMARK.find(tmp_path, ITEMS)
    assert [(problem.kind, problem.where) for problem in found.problems] == [
        ("duplicate", "00000"), ("duplicate", "00001"), ("duplicate", "00001"),
    ]  # fmt: skip
    assert len(found.images) == 7


def test_a_name_that_only_begins_as_an_images_counts_officially_alone(tmp_path: Path) -> None:
    """`00000.png.bak` is a problem; where it is allowed it is scored officially, and not in mode fixed."""
    _fill(tmp_path / "00000", ITEMS[0], ("00000.png", "00001.png", "00000.png.bak"))
    found = BENCHMARK.find(tmp_path, ITEMS[:1])
    assert [(problem.kind, problem.where) for problem in found.problems] == [
        ("duplicate", "00000/samples/00000.png.bak")
    ]
    assert [image.index for image in found.images] == [0, 1, STRAY]
    judged = JudgedImage(ITEMS[0], STRAY, {})
    assert "failed" in BENCHMARK.score(judged, Mode.FIXED)
    assert "failed" not in BENCHMARK.score(judged, Mode.OFFICIAL)


def test_a_loop_of_links_belongs_to_no_prompt(tmp_path: Path) -> None:
    """It changes nothing, and stops nothing."""
    folder = _fill(tmp_path / "00000", ITEMS[0])
    _fill(tmp_path / "00001", ITEMS[1])
    (folder / "samples" / "loop.png").symlink_to("loop.png")
    (folder / "samples" / "00002.png").symlink_to("00002.png")
    (tmp_path / "5").symlink_to("5")
    assert _problems(tmp_path) == []


def test_the_folder_above_is_recognised(tmp_path: Path) -> None:
    """Given the folder of several benchmarks' images, the message names the right one."""
    _fill(tmp_path / "geneval" / "00000", ITEMS[0])
    with pytest.raises(DataError, match=r"give .*geneval"):
        BENCHMARK.find(tmp_path, ITEMS)
    with pytest.raises(DataError, match="is not a folder"):
        BENCHMARK.find(tmp_path / "nothing", ITEMS)
