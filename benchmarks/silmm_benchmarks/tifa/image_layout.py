"""Finds the images of captions: a folder of ``<id>.png``, or TIFA's JSON of id → path (docs/spec/benchmarks.md 2.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from silmm.bench.images import visible_files
from silmm.contracts.benchmarks import FolderImages, ImageFile, Item, Problem
from silmm.errors import DataError
from silmm_benchmarks.data.text import read_json

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp")


def find_images(folder_or_index: Path, items: Sequence[Item]) -> FolderImages:
    """Match images with items.

    Args:
        folder_or_index: a folder of ``<id>.png`` (.jpg, .jpeg, .webp), or a JSON file of id → path, where paths are
            relative to the file's folder and stay inside it.
        items: the captions of the benchmark, in order.

    Raises:
        DataError: `folder_or_index` does not exist or the JSON is broken.
    """
    if folder_or_index.suffix == ".json":
        return _mapped(folder_or_index, items)
    if not folder_or_index.is_dir():
        raise DataError(f"{folder_or_index} is neither a folder of images nor a JSON file of id → path.")
    return _named(folder_or_index, items)


def _named(folder: Path, items: Sequence[Item]) -> FolderImages:
    ids = {item.id for item in items}
    by_id: dict[str, list[Path]] = {}
    problems: list[Problem] = []
    for path in visible_files(folder):
        if path.suffix.lower() not in EXTENSIONS or path.name[: -len(path.suffix)] not in ids:
            problems.append(Problem("extra", path.name, "Belongs to no caption; move it elsewhere."))
            continue
        by_id.setdefault(path.name[: -len(path.suffix)], []).append(path)
    for key, paths in by_id.items():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            problems.append(Problem("duplicate", key, f"Has {names}; keep one.", key))
    path_of = {key: paths[0] for key, paths in by_id.items()}
    missing = [
        Problem("missing", item.id, f"Add {item.id}.png to {folder}.", item.id)
        for item in items
        if item.id not in path_of
    ]
    return FolderImages(_in_order(path_of, items), tuple(problems + missing))


def _mapped(file: Path, items: Sequence[Item]) -> FolderImages:
    paths = read_json(file)
    if not isinstance(paths, Mapping):
        raise DataError(f"{file}: expected an object of id → path, not {type(paths).__name__}.")
    path_of: dict[str, Path] = {}
    problems: list[Problem] = []
    for item in items:
        name = paths.get(item.id)
        if name is None:
            what = f"{file.name} names no image of it; add one."
            problems.append(Problem("missing", item.id, what, item.id))
        elif not isinstance(name, str) or not _inside(name):
            what = f"{name!r:.80} is no path inside the folder of {file.name}."
            problems.append(Problem("unreadable", item.id, what, item.id))
        elif not (file.parent / name).is_file():
            what = f"There is no file {file.parent / name}; add it."
            problems.append(Problem("missing", item.id, what, item.id))
        else:
            path_of[item.id] = file.parent / name
    ids = {item.id for item in items}
    problems += [
        Problem("extra", str(key)[:200], f"Belongs to no caption; take it out of {file.name}.")
        for key in paths
        if key not in ids
    ]
    return FolderImages(_in_order(path_of, items), tuple(problems))


def _inside(name: str) -> bool:
    """Return whether a path from data stays below the folder that it is relative to, on any system."""
    return bool(name) and "\0" not in name and all(
        not path.is_absolute() and not path.drive and ".." not in path.parts
        for path in (PurePosixPath(name), PureWindowsPath(name))
    )


def _in_order(path_of: Mapping[str, Path], items: Sequence[Item]) -> tuple[ImageFile, ...]:
    return tuple(ImageFile(item.id, 0, path_of[item.id]) for item in items if item.id in path_of)
