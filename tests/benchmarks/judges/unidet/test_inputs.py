"""What the networks see of an image is what the official evaluator gives them."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from silmm_benchmarks.judges.unidet.inputs import frame_size, pixels, resized

from silmm.errors import DataError
from tests.benchmarks.judges.unidet import recipe


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((512, 512), (479, 479)),
        ((256, 256), (479, 479)),
        ((480, 480), (479, 479)),
        ((1024, 768), (480, 360)),
        ((768, 1024), (360, 480)),
        ((300, 200), (480, 320)),
        ((1920, 1080), (480, 270)),
        ((100, 1000), (48, 480)),
    ],
)
def test_sizes(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """The shorter side becomes 479, unless the longer one would exceed 480 (docs/spec/unidet.md 2)."""
    assert frame_size(*size) == expected


def test_recorded_sizes(goldens: Path) -> None:
    """All sizes that the original transform was asked for come out the same."""
    sizes = json.loads((goldens / "unidet/ops.json").read_text())["resize_w_h_to_w_h"]
    assert [list(frame_size(w, h)) for w, h, _, _ in sizes] == [[w, h] for _, _, w, h in sizes]


def test_recorded_pixels(goldens: Path) -> None:
    """A resized image has the original's pixels."""
    golden = json.loads((goldens / "unidet/ops.json").read_text())["resize_pixels"]
    values = np.asarray(resized(Image.fromarray(recipe.image("resize", 256, 320))))
    assert list(values.shape) == golden["out_shape"]
    assert zlib.crc32(values.tobytes()) == golden["crc32"]


def test_order_of_colours() -> None:
    """BGR turns the channels of an RGB image round; values stay 0 to 255."""
    image = Image.new("RGB", (2, 1), (255, 128, 7))
    assert pixels(image, "RGB")[:, 0, 0].tolist() == [255, 128, 7]
    assert pixels(image, "BGR")[:, 0, 0].tolist() == [7, 128, 255]


def test_too_narrow() -> None:
    """An image of which nothing would be left is an error that says so, not a crash."""
    with pytest.raises(DataError, match="1x2000 is too narrow"):
        frame_size(1, 2000)
