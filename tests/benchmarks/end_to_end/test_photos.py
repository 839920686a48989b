"""A real detector behind the rules of objects: photos composed so that the right answer is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image
from silmm_benchmarks.t2i_compbench.benchmark import T2ICompBench
from silmm_benchmarks.t2i_compbench.options import T2ICompBenchOptions

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
    "two cats and one cup": (["cat", "cup", "cat"], ["cup", "cat", "cup"]),
    "one person and one motorcycle": (["person", "motorcycle"], ["person", "person", "person"]),
}


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


def row_of(things: Sequence[str]) -> Image.Image:
    """Put photos side by side."""
    both = Image.new("RGB", (SIDE * len(things), SIDE))
    for place, thing in enumerate(things):
        both.paste(coco_detector.photo(PHOTOS[thing]).resize((SIDE, SIDE)), (place * SIDE, 0))
    return both


def compose(data: Path, folder: Path, which: int) -> Path:
    """Draw the right (0) or the wrong (1) picture of every prompt, ten times as the benchmark wants it."""
    benchmark = T2ICompBench(T2ICompBenchOptions(custom=True))
    for item in benchmark.items(data / "t2i-compbench"):
        picture = row_of({**SPATIAL, **NUMERACY}[item.prompt][which])
        for index in range(item.images):
            path = benchmark.target(folder, item, index)
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, compress_level=1)
    return folder


def test_the_right_picture_scores_above_the_wrong_one(
    bench: Callable[..., Done], data: Path, tmp_path: Path
) -> None:
    """Every prompt's own score, of relations and of numbers, is higher for the picture that shows it."""
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
