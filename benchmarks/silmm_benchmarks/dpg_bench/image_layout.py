"""Where DPG-Bench's images are: one file per prompt, a grid of square images (docs/spec/benchmarks.md 3.2)."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from silmm.bench.images import FORMATS, MAX_PIXELS, visible_files
from silmm.contracts.benchmarks import FolderImages, ImageFile, Item, Problem
from silmm.errors import DataError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

CELLS = ((0, 0), (1, 0), (0, 1), (1, 1))
"""Column and row of each image in a grid, in official order."""

_EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp")
_REPORT = "dpg-bench_"  # the official script writes its reports into the image folder


def find_images(
    folder: Path, items: Sequence[Item], *, images: int = 4, resolution: int | None = None
) -> FolderImages:
    """Match ``<item_id>.<ext>`` with the items and cut each file into `images` squares.

    Args:
        folder: the images; an id is a file's name up to its first dot.
        items: the prompts of the benchmark, in order.
        images: images per file, 1 to 4.
        resolution: side of one image in pixels; None: derived from the files, which must agree.

    Raises:
        DataError: `folder` is no folder.
        UsageError: `images` or `resolution` makes no sense.
    """
    if images not in (1, 2, 3, 4) or (resolution is not None and resolution < 1):
        raise UsageError(f"pic-num {images}, resolution {resolution}: use 1 to 4 and a side from 1.")
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of images.")
    ids = {item.id for item in items}
    files: dict[str, list[Path]] = {}
    problems: list[Problem] = []
    for path in visible_files(folder):
        if path.name.startswith(_REPORT):
            continue
        key = path.name.split(".")[0]
        if path.suffix.lower() in _EXTENSIONS and key in ids:
            files.setdefault(key, []).append(path)
        else:
            problems.append(Problem("extra", path.name, "Belongs to no prompt; move it elsewhere."))
    for key, paths in files.items():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            problems.append(Problem("duplicate", key, f"Has {names}; keep one.", key))
    problems += [
        Problem("missing", item.id, f"Add {item.id}.png to {folder}.", item.id)
        for item in items
        if item.id not in files
    ]
    sizes = _sizes({key: files[key][0] for key in files}, problems)
    side = resolution or _usual_side(sizes, images)
    allowed = _allowed(side, images, stated=resolution is not None)
    cut: list[ImageFile] = []
    for item in items:
        if item.id not in sizes:
            continue
        size, path = sizes[item.id], files[item.id][0]
        if size not in allowed:
            shapes = " or ".join(f"{width}x{height}" for width, height in allowed)
            what = f"Is {size[0]}x{size[1]}, not {shapes} ({images} images of side {side})."
            problems.append(Problem("wrong-size", path.name, what, item.id))
            continue
        cut += [
            ImageFile(item.id, index, path, (x * side, y * side, (x + 1) * side, (y + 1) * side))
            for index, (x, y) in enumerate(CELLS[:images])
        ]
    return FolderImages(tuple(cut), tuple(problems))


def join_grid(images: Sequence[Image]) -> Image:
    """Put one to four square RGB images of one size into a grid, in official order.

    Raises:
        UsageError: they are not square or differ in size.
    """
    from PIL import Image

    side = images[0].width
    if any(image.size != (side, side) for image in images):
        sizes = ", ".join(f"{image.width}x{image.height}" for image in images)
        raise UsageError(f"dpg-bench joins square images of one size to a grid, not {sizes}.")
    width, height = _grid(len(images))
    grid = Image.new("RGB", (width * side, height * side))
    for image, (x, y) in zip(images, CELLS, strict=False):
        grid.paste(image.convert("RGB"), (x * side, y * side))
    return grid


def _grid(images: int) -> tuple[int, int]:
    """Columns and rows of the smallest grid."""
    return min(images, 2), (images + 1) // 2


def _allowed(side: int, images: int, *, stated: bool) -> list[tuple[int, int]]:
    """Sizes of files that hold `images` images of `side`: the smallest grid, or a full one.

    A single image without a stated resolution is a whole file: a grid could not be distinguished from it.
    """
    width, height = _grid(images)
    sizes = {(width * side, height * side)}
    if images > 1 or stated:
        sizes.add((2 * side, 2 * side))
    return sorted(sizes)


def _usual_side(sizes: Mapping[str, tuple[int, int]], images: int) -> int:
    """Return the commonest side of one image, from the widths of the files."""
    columns = _grid(images)[0]
    sides = Counter(width // columns for width, _ in sizes.values())
    return max(sides, key=lambda side: (sides[side], side), default=1) or 1


def _sizes(paths: Mapping[str, Path], problems: list[Problem]) -> dict[str, tuple[int, int]]:
    """Read widths and heights from the files' headers, without decoding; unreadable ones become problems."""
    from PIL import Image

    sizes: dict[str, tuple[int, int]] = {}
    for key, path in paths.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # notes on odd metadata; the size is checked here
                with Image.open(path, formats=FORMATS) as image:
                    size = image.size
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            what = f"Is no readable {', '.join(FORMATS)} ({error!s:.80}); replace it."
            problems.append(Problem("unreadable", path.name, what, key))
            continue
        if size[0] * size[1] > MAX_PIXELS:
            what = f"Claims {size[0]}x{size[1]} pixels, more than {MAX_PIXELS}; replace it."
            problems.append(Problem("unreadable", path.name, what, key))
            continue
        sizes[key] = size
    return sizes
