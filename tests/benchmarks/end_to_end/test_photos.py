"""A real detector behind the rules of objects: photos composed so that the right answer is known."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image
from silmm_benchmarks.benchmark_options import OfficialOptions
from silmm_benchmarks.t2i_compbench.benchmark import T2ICompBench

from tests.benchmarks.end_to_end.conftest import Done
from tests.benchmarks.judges import coco_detector

SIDE = 300
PHOTOS = {"cat": "chelsea", "cup": "coffee", "person": "astronaut", "motorcycle": "motorcycle_left"}
SPATIAL = {
    "a cat on the left of a cup": (["cat", "cup"], ["cup", "cat"]),
    "a cup on the right of a cat": (["cat", "cup"], ["cup", "cat"]),
    "a person on the left of a motorcycle": (["person", "motorcycle"], ["motorcycle", "person"]),
}
"""Prompt -> photos from left to right that show it, and that show the opposite."""
NUMERACY = {
    "two cups and one cat": (["cup", "cat", "cup"], ["cat", "cup", "cat"]),
    "two persons and one cat": (["person", "cat", "person"], ["cat", "person", "cat"]),
}
"""Prompt -> photos of a grid that show it, and that show other numbers."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Give prompts of our own, which spaCy parses."""
    pytest.importorskip("spacy")
    coco_detector.find()
    folder = tmp_path / "data" / "t2i-compbench"
    folder.mkdir(parents=True)
    (folder / "spatial_val.txt").write_text("\n".join(SPATIAL))
    (folder / "numeracy_val.txt").write_text("\n".join(NUMERACY))
    objects = ("cat - cats", "cup - cups", "person - persons", "motorcycle - motorcycles")
    (folder / "new_objects.txt").write_text("\n".join(objects))
    return folder.parent


def composed(things: Sequence[str]) -> Image.Image:
    """Put photos into a grid of two columns on white."""
    whole = Image.new("RGB", (2 * SIDE, SIDE * -(-len(things) // 2)), "white")
    for place, thing in enumerate(things):
        photo = coco_detector.photo(PHOTOS[thing]).resize((SIDE, SIDE))
        whole.paste(photo, (place % 2 * SIDE, place // 2 * SIDE))
    return whole


def compose(data: Path, folder: Path, which: int) -> Path:
    """Sample the right (0) or the wrong (1) image of every prompt, ten times as the benchmark wants it."""
    benchmark = T2ICompBench(OfficialOptions(custom=True))
    for item in benchmark.items(data / "t2i-compbench"):
        image = composed({**SPATIAL, **NUMERACY}[item.prompt][which])
        first = benchmark.target(folder, item, 0)
        first.parent.mkdir(parents=True, exist_ok=True)
        image.save(first, compress_level=1)
        for index in range(1, item.images):
            shutil.copyfile(first, benchmark.target(folder, item, index))
    return folder


def test_the_right_image_scores_above_the_wrong_one(
    bench: Callable[..., Done], data: Path, tmp_path: Path
) -> None:
    """Every prompt's own score, of relations and of numbers, is higher for the image that shows it."""
    values = []
    for which, name in enumerate(("right", "wrong")):
        done = bench(
            "t2i-compbench", "--images", compose(data, tmp_path / name, which), "--data-dir", data,
            "--set", "t2i-compbench.custom=true", "--judge", "detector=coco", "--judge", "detector-2d=coco",
            out=f"out-{name}",
        )
        assert done.exit_code == 0, done.stderr
        (result,) = done.results
        assert list(result.numbers) == ["2D-Spatial", "Numeracy"]
        assert not result.canaries_failed
        values.append({(row["item"], row["column"]): row["value"] for row in done.rows("prompts")})
    right, wrong = values
    assert right.keys() == wrong.keys()
    assert len(right) == len(SPATIAL) + len(NUMERACY)
    for prompt in right:
        assert right[prompt] > wrong[prompt], prompt
