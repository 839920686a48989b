"""DPG-Bench's grids are cut where the official script cuts them, and odd files are named."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image
from pydantic import ValidationError
from silmm_benchmarks.benchmark_options import DpgBenchOptions
from silmm_benchmarks.dpg_bench.benchmark import DpgBench

from silmm.bench.images import open_rgb
from silmm.contracts.benchmarks import Item
from silmm.errors import DataError, UsageError

ITEMS = [Item(key, f"prompt of {key}", "", 4) for key in ("b", "a", "c")]
COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]


def _save(path: Path, width: int, height: int) -> None:
    Image.new("RGB", (width, height)).save(path)


def _kinds(folder: Path, benchmark: DpgBench | None = None) -> set[tuple[str, str]]:
    found = (benchmark or DpgBench()).find(folder, ITEMS)
    return {(problem.kind, problem.where) for problem in found.problems}


def test_a_grid_is_cut_row_by_row(tmp_path: Path) -> None:
    """Generated images are joined, stored, found again and cut in the same order, pixel for pixel."""
    benchmark = DpgBench()
    images = [Image.new("RGB", (8, 8), color) for color in COLORS]
    benchmark.join(images).save(benchmark.target(tmp_path, ITEMS[1], 3))
    found = benchmark.find(tmp_path, [ITEMS[1]])
    assert [(image.index, image.box) for image in found.images] == [
        (0, (0, 0, 8, 8)), (1, (8, 0, 16, 8)), (2, (0, 8, 8, 16)), (3, (8, 8, 16, 16)),
    ]  # fmt: skip
    assert not found.problems
    cut = [open_rgb(image.path, image.box) for image in found.images]
    assert [image.getpixel((0, 0)) for image in cut] == COLORS
    assert [image.tobytes() for image in cut] == [image.tobytes() for image in images]


@pytest.mark.parametrize("images", [1, 2, 3, 4])
def test_fewer_images_have_smaller_grids(tmp_path: Path, images: int) -> None:
    """With pic-num 1 to 4 what is joined is found again, whole."""
    benchmark = DpgBench(DpgBenchOptions(images=images))
    parts = [Image.new("RGB", (8, 8), color) for color in COLORS[:images]]
    benchmark.join(parts).save(benchmark.target(tmp_path, ITEMS[0], 0))
    found = benchmark.find(tmp_path, [ITEMS[0]])
    cut = [open_rgb(image.path, image.box) for image in found.images]
    assert [image.getpixel((7, 7)) for image in cut] == COLORS[:images]
    assert not found.problems


def test_official_grids_with_fewer_images_asked_for(tmp_path: Path) -> None:
    """pic-num 1 with a resolution takes the first quarter of a full grid, as the official script does."""
    _save(tmp_path / "a.png", 16, 16)
    found = DpgBench(DpgBenchOptions(images=1, resolution=8)).find(tmp_path, [ITEMS[1]])
    assert [image.box for image in found.images] == [(0, 0, 8, 8)]


def test_images_come_in_item_order_and_the_rest_is_named(tmp_path: Path) -> None:
    """Missing, doubled and foreign files are listed; the official script's own reports are passed over."""
    for name in ("a.png", "b.png", "b.v2.jpg", "d.png"):
        _save(tmp_path / name, 16, 16)
    for name in ("notes.txt", "dpg-bench_20240101_results.txt", "dpg-bench_20240101_results_detail.txt"):
        (tmp_path / name).write_text("x")
    found = DpgBench().find(tmp_path, ITEMS)
    assert [image.item for image in found.images] == ["b"] * 4 + ["a"] * 4
    assert _kinds(tmp_path) == {
        ("missing", "c"), ("duplicate", "b"), ("extra", "d.png"), ("extra", "notes.txt"),
    }  # fmt: skip


def test_a_grid_of_another_size_is_named(tmp_path: Path) -> None:
    """The commonest size is the resolution; others are wrong, and a given resolution overrules."""
    _save(tmp_path / "a.png", 16, 16)
    _save(tmp_path / "b.png", 16, 16)
    _save(tmp_path / "c.png", 8, 8)
    assert _kinds(tmp_path) == {("wrong-size", "c.png")}
    wrong = {("wrong-size", "a.png"), ("wrong-size", "b.png")}
    assert _kinds(tmp_path, DpgBench(DpgBenchOptions(resolution=4))) == wrong
    problem = DpgBench().find(tmp_path, ITEMS).problems[0]
    assert problem.what == "Is 8x8, not 16x16 (4 images of side 8)."


@pytest.mark.parametrize("size", [(17, 17), (16, 8), (8, 16)])
def test_what_is_no_grid_of_squares_is_named(tmp_path: Path, size: tuple[int, int]) -> None:
    """Odd sides and oblong files cannot be four equal squares."""
    _save(tmp_path / "a.png", *size)
    assert ("wrong-size", "a.png") in _kinds(tmp_path)


def test_unreadable_files_and_bombs_are_named(tmp_path: Path) -> None:
    """Text, a header cut short and a PNG that claims billions of pixels are problems, not crashes."""
    (tmp_path / "a.png").write_text("no image")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "c.png").write_bytes(bomb)
    found = DpgBench().find(tmp_path, ITEMS)
    assert not found.images
    assert _kinds(tmp_path) == {("unreadable", f"{key}.png") for key in "abc"}


def test_options_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    """Five images, a side of nothing, oblong parts and a missing folder are errors."""
    with pytest.raises(ValidationError, match="less than or equal to 4"):
        DpgBenchOptions(images=5)
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        DpgBenchOptions(resolution=0)
    with pytest.raises(UsageError, match="8x8, 8x9"):
        DpgBench().join([Image.new("RGB", (8, 8)), Image.new("RGB", (8, 9))])
    with pytest.raises(DataError, match="not a folder"):
        DpgBench().find(tmp_path / "nowhere", ITEMS)
