"""Where images are and how they are named: `samples/<prompt>_<index>.png` (docs/spec/benchmarks.md 1.2)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from silmm.bench.images import visible_files
from silmm.contracts.benchmarks import FolderImages, ImageFile, Item, Problem
from silmm.errors import DataError

SAMPLES = "samples"
_NAME = re.compile(r"(?P<prompt>.+)_(?P<index>\d{1,9})\.(?:png|jpg|jpeg|webp)", re.IGNORECASE | re.DOTALL)


def image_path(folder: Path, item: Item, index: int) -> Path:
    """Return where image `index` (0-based) of an item belongs.

    The number in the name runs over all images of the category: prompt p has 10p to 10p + 9.
    """
    return folder / item.category / SAMPLES / _name(item, index)


def find_images(folder: Path, items: Sequence[Item]) -> FolderImages:
    """Match the files of a folder with the items by name; nothing is opened.

    The images of a category are in `<category>/samples` or `<category>`, or, if it is the only category, in
    `samples` or the folder itself. A prompt's files are taken in the order of their numbers: where these are
    the official ones, each stands for itself, so that a gap is missing where it is.

    Raises:
        DataError: the folder does not exist or cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give the folder that holds the images.")
    by_category: dict[str, list[Item]] = {}
    for item in items:
        by_category.setdefault(item.category, []).append(item)
    images: list[ImageFile] = []
    problems: list[Problem] = []
    for category, members in by_category.items():
        listing = _in_folder(_samples_folder(folder, category, alone=len(by_category) == 1), members)
        images += listing.images
        problems += listing.problems
    return FolderImages(tuple(images), tuple(problems))


def number_of(path: Path) -> int:
    """Return the number in the name of an image that :func:`find_images` found."""
    match = _NAME.fullmatch(path.name)
    return int(match["index"]) if match else 0


def _name(item: Item, index: int) -> str:
    return f"{item.prompt}_{item.details['row'] * item.images + index:06d}.png"


def _samples_folder(folder: Path, category: str, *, alone: bool) -> Path:
    usual = folder / category / SAMPLES
    others = [folder / category, *([folder / SAMPLES, folder] if alone else [])]
    return next((candidate for candidate in (usual, *others) if candidate.is_dir()), usual)


def _in_folder(folder: Path, items: Sequence[Item]) -> FolderImages:
    by_prompt: dict[str, dict[int, Path]] = {_normal(item.prompt): {} for item in items}
    owners = {_normal(item.prompt): item.id for item in items}
    problems: list[Problem] = []
    for path in visible_files(folder):
        match = _NAME.fullmatch(path.name)
        files_of_prompt = by_prompt.get(_normal(match["prompt"])) if match else None
        owner = owners.get(_normal(match["prompt"]), "") if match else ""
        if match is None or files_of_prompt is None:
            problems.append(Problem("extra", str(path), "No prompt has this name; it is not scored."))
        elif int(match["index"]) in files_of_prompt:
            what = f"{files_of_prompt[int(match['index'])].name} has the same prompt and number; take one of them out."
            problems.append(Problem("duplicate", str(path), what, owner))
        else:
            files_of_prompt[int(match["index"])] = path
    images: list[ImageFile] = []
    for item in items:
        taken, left = _numbered(item, by_prompt[_normal(item.prompt)])
        images += [ImageFile(item.id, index, path) for index, path in sorted(taken.items())]
        what = f"The prompt has {item.images} images already; it is not scored."
        problems += [Problem("extra", str(path), what, item.id) for path in left]
        sample = "Sample it, or score with --allow-missing."
        problems += [
            Problem("missing", str(folder / _name(item, index)), sample, item.id)
            for index in range(item.images)
            if index not in taken
        ]
    return FolderImages(tuple(images), tuple(problems))


def _numbered(item: Item, files: dict[int, Path]) -> tuple[dict[int, Path], list[Path]]:
    """Return a prompt's files by 0-based index, and those that are too many."""
    first = item.details["row"] * item.images
    if files and all(first <= number < first + item.images for number in files):
        return {number - first: path for number, path in files.items()}, []
    ordered = [files[number] for number in sorted(files)]
    return dict(enumerate(ordered[: item.images])), ordered[item.images :]


def _normal(text: str) -> str:
    """Return one form of a text, as file systems compose letters in two ways."""
    return unicodedata.normalize("NFC", text)
