"""Hashes that nobody has published: written down when a file is first here, compared ever after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from silmm.errors import DataError
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import read_json, to_json

NAME = "recorded-sha256.json"
"""In the data set's folder: file name -> SHA-256."""


def read_recorded(folder: Path) -> dict[str, str]:
    """Return the recorded hashes of a data set's folder, by file name.

    Raises:
        DataError: the record is unreadable or malformed.
    """
    path = folder / NAME
    if not path.is_file():
        return {}
    remedy = "Delete it; the hashes of the files that are here will be written down anew."
    found = read_json(path, remedy)
    if not all(isinstance(value, str) for value in found.values()):
        raise DataError(f"{path} holds something else than hashes. {remedy}")
    return dict(found)


def record(folder: Path, hashes: Mapping[str, str]) -> None:
    """Add hashes to the record; one that is there already stays as it is.

    Raises:
        DataError, OutOfSpace: the system refused the write.
    """
    known = read_recorded(folder)
    if hashes.keys() - known.keys():
        atomic_write(folder / NAME, to_json(dict(hashes) | known))
