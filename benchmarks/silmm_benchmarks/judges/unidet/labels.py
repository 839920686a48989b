"""The names of the 722 classes, read from the file that the benchmark's own scripts read them from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from silmm.errors import DataError
from silmm_benchmarks.judges.unidet.architecture import CLASSES
from silmm_benchmarks.judges.unidet.checkpoint import read_table

OFFICIAL = "8840546c24c3df8df852bb4d6b36032e77f3882311798fe786f33ea6db4caf40"
"""SHA-256 of the official names, one a line, in their order: class i is line i."""


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
