"""Where images are: `<5 digits>/samples/<digits>.png`, a `metadata.jsonl` in each folder (docs/spec/geneval.md 1)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from silmm.contracts.benchmarks import FolderImages, ImageFile, Item, Problem
from silmm.errors import DataError
from silmm.storage.atomic_files import disk_errors
from silmm_benchmarks.geneval.prompts import metadata_text, parse_metadata

METADATA = "metadata.jsonl"
SAMPLES = "samples"
STRAY = 1000
"""Added to the index of images whose name only begins as an image's: the official evaluator takes `0000.png.bak`."""
_NAME = re.compile(r"\d+\.png")


def image_path(folder: Path, item: Item, index: int) -> Path:
    """Return `<folder>/<item id>/samples/<5 digits>.png`, as the official sampler names it."""
    return folder / item.id / SAMPLES / f"{index:05d}.png"


def metadata_file(folder: Path, item: Item) -> tuple[Path, str]:
    """Return the file that the official evaluator reads beside an item's images, and its content."""
    return folder / item.id / METADATA, metadata_text(item.details["metadata"]) + "\n"


def find_images(folder: Path, items: Sequence[Item]) -> FolderImages:
    """Match the folders with the items by their `metadata.jsonl`, or by their number where they have none.

    All images that the official evaluator takes are taken. More than the item's number of them, names that are no
    image's (`0000.png.bak`) and two folders of one prompt are problems of the kind `duplicate`.

    Raises:
        DataError: `folder` is no folder, or holds the images one level below.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of images.")
    folders = [path for path in _listed(folder) if path.name.isdigit() and path.is_dir()]
    if not folders and (folder / "geneval").is_dir():
        raise DataError(f"{folder} holds no numbered folders, but a folder `geneval`: give {folder / 'geneval'}.")
    problems: list[Problem] = []
    homes: dict[str, list[Path]] = {}
    matching = _Matching(items)
    for path in folders:
        item = matching.item_of(path, problems)
        if item is not None:
            homes.setdefault(item, []).append(path)
    images = [
        image for item in items for image in _images_of(item, homes.get(item.id, ()), folder, problems)
    ]
    return FolderImages(tuple(images), tuple(problems))


class _Matching:
    """Knows which prompt a folder belongs to."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._ids = {item.id for item in items}
        self._by_metadata: dict[str, list[str]] = {}
        for item in items:
            self._by_metadata.setdefault(metadata_text(item.details["metadata"]), []).append(item.id)

    def item_of(self, folder: Path, problems: list[Problem]) -> str | None:
        """Return the id of the item of a folder; None adds a problem."""
        number = folder.name.lstrip("0").zfill(5)
        path = folder / METADATA
        if not path.is_file():
            if number in self._ids:
                return number
            problems.append(Problem("extra", folder.name, "Belongs to no prompt; move it elsewhere."))
            return None
        try:
            with disk_errors(path, "reading"):
                text = metadata_text(parse_metadata(path.read_text("utf-8"), str(path)))
        except (DataError, UnicodeDecodeError) as error:
            item = number if number in self._ids else ""
            problems.append(Problem("unreadable", f"{folder.name}/{METADATA}", f"{error!s:.200}", item))
            return None
        same = self._by_metadata.get(text, [])
        if same:
            return number if number in same else same[0]
        what = f"Its {METADATA} is no line of the prompts that are scored; were they rewritten? Move it elsewhere."
        problems.append(Problem("extra", folder.name, what))
        return None


def _images_of(
    item: Item, homes: Sequence[Path], folder: Path, problems: list[Problem]
) -> Iterator[ImageFile]:
    """Yield the images of an item; those of a second folder and stray ones come behind."""
    if len(homes) > 1:
        names = ", ".join(path.name for path in homes)
        problems.append(Problem("duplicate", item.id, f"The folders {names} have its metadata; keep one.", item.id))
    clean: list[Path] = []
    stray: list[Path] = []
    for home in homes:
        for path in _listed(home / SAMPLES):
            relative = path.relative_to(folder).as_posix()
            if not _NAME.match(path.name):
                problems.extend(_extra(path, relative))
            elif path.is_file():
                (clean if _NAME.fullmatch(path.name) else stray).append(path)
    for path in stray:
        what = "Its name only begins as an image's, and the official evaluator scores it too; move it elsewhere."
        problems.append(Problem("duplicate", path.relative_to(folder).as_posix(), what, item.id))
    if len(clean) > item.images:
        what = f"Has {len(clean)} images, not {item.images}; take the others out, or give --set geneval.images=N."
        problems.append(Problem("duplicate", item.id, what, item.id))
    if homes and len(clean) < item.images:
        what = f"Has {len(clean)} of {item.images} images in {homes[0].name}/{SAMPLES}; add NNNNN.png."
        problems.append(Problem("missing", item.id, what, item.id))
    yield from (ImageFile(item.id, index, path) for index, path in enumerate(clean))
    yield from (ImageFile(item.id, STRAY + index, path) for index, path in enumerate(stray))


def _extra(path: Path, relative: str) -> list[Problem]:
    """Return the problem of a file among the images that is none; hidden ones are ignored."""
    if path.name.startswith(".") or not path.is_file():
        return []
    form = "Is not called NNNNN.png, and the official evaluator reads nothing else"
    remedy = "convert it" if path.stem.isdigit() else "rename it"
    return [Problem("extra", relative, f"{form}; {remedy}, or move it elsewhere.")]


def _listed(folder: Path) -> list[Path]:
    """Return what a folder holds, by name; nothing without the folder.

    Raises:
        DataError: the system refuses to list it.
    """
    if not folder.is_dir():
        return []
    with disk_errors(folder, "reading"):
        return sorted(folder.iterdir())
