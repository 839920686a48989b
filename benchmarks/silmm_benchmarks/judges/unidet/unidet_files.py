"""Finds UniDet's files and reads the names of its classes (docs/spec/unidet.md 14)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from silmm.errors import DataError
from silmm.storage.user_folders import data_root
from silmm_benchmarks.judges.options import UniDetOptions
from silmm_benchmarks.judges.unidet.architecture import CLASSES
from silmm_benchmarks.judges.unidet.checkpoint import read_table
from silmm_benchmarks.judges.weights_catalogue import UNIDET_FILES, UNIDET_SIZES


def located(judge: str, weights: str, labels: str) -> tuple[Path, Path]:
    """Return the paths of weights and labels: those of the options, else in the judge's own data folder."""
    file, names = UNIDET_FILES[judge]
    path = Path(weights).expanduser() if weights else data_root() / judge
    if path.is_dir() or not weights:
        path /= file.name
    return path, Path(labels).expanduser() if labels else path.parent / names.name


def require_options(judge: str, options: UniDetOptions) -> None:
    """Refuse options that name files which do not exist; see :func:`require_files`."""
    require_files(judge, *located(judge, options.weights, options.labels))


def require_files(judge: str, weights: Path, labels: Path) -> None:
    """Refuse missing files; the message says what each is, where it comes from, and where to put it.

    Raises:
        DataError: one or both are missing; both in one message.
    """
    files = zip((weights, labels), UNIDET_FILES[judge], ("weights", "labels"), strict=True)
    absent = [
        f"The judge {judge} needs {path}, which does not exist. It is {file.name} ({UNIDET_SIZES[file.name]}) from "
        f"{file.url}. Licence: {file.licence} `silmm data pull {judge}` fetches it; or put it there, or name "
        f"its path with the option `{option}`."
        for path, file, option in files if not path.is_file()
    ]
    if absent:
        raise DataError("\n".join(absent))


OFFICIAL = "8840546c24c3df8df852bb4d6b36032e77f3882311798fe786f33ea6db4caf40"
"""SHA-256 of the official names, one per line, in their order: class i is line i."""


def read_labels(path: Path) -> tuple[str, ...]:
    """Return the names by class number.

    Args:
        path: the official detection_features.pt, whose list `labels` is taken, or a JSON list.

    Raises:
        DataError: the file is unreadable, or does not hold 722 names.
    """
    names = _from_json(path) if path.suffix == ".json" else read_table(path).get("labels")
    if (
        not isinstance(names, (list, tuple))
        or len(names) != CLASSES
        or not all(isinstance(name, str) and name for name in names)
    ):
        raise DataError(
            f"{path} does not hold the names of the classes: a list of {CLASSES} texts was expected. Take "
            "UniDet_eval/dataset/detection_features.pt of T2I-CompBench."
        )
    return tuple(names)


def digest(names: Sequence[str]) -> str:
    """Return the SHA-256 of names in their order."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _from_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}); give a list of {CLASSES} names.") from None
