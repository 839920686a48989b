"""Folders in the official layout are matched by name: nothing is guessed, nothing is lost silently."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from silmm_benchmarks.t2i_compbench.benchmark import T2ICompBench
from silmm_benchmarks.t2i_compbench.image_layout import find_images, image_path

from silmm.contracts.benchmarks import Item
from silmm.errors import DataError


def item(row: int, prompt: str, category: str = "color", images: int = 2) -> Item:
    """Make an item of few images."""
    return Item(f"{category}/{row:04d}", prompt, category, images, {"row": row})


ITEMS = [item(0, "a red cup"), item(1, "a blue cup: 11:44")]


def fill(folder: Path, *names: str) -> None:
    """Make empty files; finding opens none."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


@pytest.mark.parametrize("inside", ["color/samples", "color", "samples", "."])
def test_all_places_of_one_category(tmp_path: Path, inside: str) -> None:
    """One category is found below its name, in samples, and in the folder itself."""
    names = [image_path(tmp_path, one, index).name for one in ITEMS for index in (0, 1)]
    fill(tmp_path / inside, *names)
    found = find_images(tmp_path, ITEMS)
    assert [image.path.name for image in found.images] == names
    assert [(image.item, image.index) for image in found.images] == [
        ("color/0000", 0), ("color/0000", 1), ("color/0001", 0), ("color/0001", 1)
    ]
    assert not found.problems


def test_two_categories_need_their_names(tmp_path: Path) -> None:
    """A folder of one category never stands for another one."""
    fill(tmp_path / "samples", "a red cup_000000.png", "a red cup_000001.png")
    found = find_images(tmp_path, [item(0, "a red cup"), item(0, "a red cup", "shape")])
    assert not found.images
    assert [problem.kind for problem in found.problems] == ["missing"] * 4
    assert str(tmp_path / "shape" / "samples" / "a red cup_000001.png") in {p.where for p in found.problems}


def test_numbers_run_over_all_images_of_a_category() -> None:
    """Prompt p owns the numbers 10p to 10p + 9, as the official sampler counts."""
    path = T2ICompBench().target(Path("out"), item(7, "a red cup", images=10), 3)
    assert path == Path("out/color/samples/a red cup_000073.png")


def test_a_gap_is_missing_where_it_is(tmp_path: Path) -> None:
    """With official numbers the missing image is named, and the others keep their places."""
    fill(tmp_path / "samples", "a red cup_000001.png", *(f"a blue cup: 11:44_00000{n}.png" for n in (2, 3)))
    found = find_images(tmp_path, ITEMS)
    assert (found.images[0].item, found.images[0].index) == ("color/0000", 1)
    (problem,) = found.problems
    assert problem.kind == "missing" and problem.where.endswith("a red cup_000000.png")


def test_other_numbers_are_taken_in_order(tmp_path: Path) -> None:
    """Numbering from 0 for every prompt, or after a re-run, is accepted; what is too many is told."""
    fill(tmp_path / "samples", *(f"a blue cup: 11:44_00000{n}.png" for n in (5, 0, 9)))
    found = find_images(tmp_path, ITEMS[1:])
    assert [image.path.name[-5] for image in found.images] == ["0", "5"]
    assert [(problem.kind, problem.where[-5]) for problem in found.problems] == [("extra", "9")]


def test_stray_files_are_told_and_not_scored(tmp_path: Path) -> None:
    """Grids, results and images of other prompts are extra; hidden files and folders are not looked at."""
    fill(tmp_path / "annotation_blip", "vqa_result.json")
    fill(
        tmp_path, "a red cup_000000.png", "a red cup_000001.jpg", "a red cup-grid-00000.png", ".DS_Store",
        "vqa_result.json", "a green cup_000004.png", "a red cup_x.png",
    )
    found = find_images(tmp_path, ITEMS[:1])
    assert len(found.images) == 2
    assert {problem.kind for problem in found.problems} == {"extra"}
    assert len(found.problems) == 4


def test_two_files_of_one_number_are_duplicates(tmp_path: Path) -> None:
    """Which of two images counts is never decided silently."""
    fill(tmp_path, "a red cup_000000.png", "a red cup_0.png", "a red cup_000001.png")
    found = find_images(tmp_path, ITEMS[:1])
    assert [problem.kind for problem in found.problems] == ["duplicate"]


def test_composed_and_decomposed_letters_are_one_prompt(tmp_path: Path) -> None:
    """File systems that decompose letters do not lose images."""
    prompt = "a café in Zürich"
    fill(tmp_path, *(f"{unicodedata.normalize('NFD', prompt)}_00000{n}.png" for n in (0, 1)))
    assert len(find_images(tmp_path, [item(0, prompt)]).images) == 2


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    """A misspelt folder is an error, not 3,000 missing images."""
    with pytest.raises(DataError, match="is no folder"):
        find_images(tmp_path / "nowhere", ITEMS)
