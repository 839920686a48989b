"""Describes files of weights, whether or not they load: size, hash, container, wrappers, types of numbers."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from silmm.storage.sha256_cache import sha256_file

_SHOWN = 12
"""Names that a list shows in full."""
_BEGINNING = 16
_HEADER = 64 * 1024 * 1024
"""Bytes of a safetensors header that are read at most."""


def describe(path: Path) -> dict[str, Any]:
    """Return a file's path, size, SHA-256 and container, or that it does not exist."""
    if not path.is_file():
        return {"path": str(path), "found": "a folder" if path.is_dir() else "nothing"}
    size = path.stat().st_size
    return {"path": str(path), "bytes": size, "sha256": sha256_file(path), "container": container(path)}


def container(path: Path) -> str:
    """Return what a file is by how it begins."""
    with path.open("rb") as file:
        start = file.read(_BEGINNING)
    if not start:
        return "empty"
    if start.startswith(b"PK\x03\x04"):
        return "zip archive" + (", as torch 1.6 and later write" if zipfile.is_zipfile(path) else ", cut off")
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return "safetensors"
    if start[:1] == b"\x80":
        return "pickle, as torch before 1.6 writes"
    if start.lstrip()[:1] == b"<":
        return "a web page: the download was answered by a page"
    readable = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start)
    return "text" if readable else f"unknown, begins with {start!r}"


def foreign_objects(path: Path) -> list[str]:
    """Return the classes and functions that a file of torch names beyond plain tensors; none is run."""
    import torch

    find = getattr(torch.serialization, "get_unsafe_globals_in_checkpoint", None)  # torch 2.6 and later
    if find is None or not path.is_file():
        return []
    try:
        return sorted(find(path))
    except Exception:  # a file that is no pickle names nothing
        return []


def wrapping(data: Any) -> dict[str, str] | str:
    """Return the top level of a file: key -> what it holds, arrays counted together."""
    if not isinstance(data, dict):
        return f"a {type(data).__name__}, no table"
    arrays = sum(hasattr(value, "shape") for value in data.values())
    contents = {str(key): _brief(value) for key, value in data.items() if not hasattr(value, "shape")}
    return {**({"(arrays)": str(arrays)} if arrays else {}), **contents}


def arrays(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many arrays and numbers a table has, and how many of each type."""
    kinds = Counter(_kind(value) for value in table.values())
    shapes = [tuple(value.shape) for value in table.values() if hasattr(value, "shape")]
    return {"arrays": len(shapes), "numbers": sum(_product(shape) for shape in shapes), "types": dict(kinds)}


def named(names: Iterable[str]) -> list[str]:
    """Return names as facts show them: the first dozen, and how many more."""
    listed = list(names)
    rest = [f"… and {len(listed) - _SHOWN} more"] if len(listed) > _SHOWN else []
    return [*listed[:_SHOWN], *rest]


def header(path: Path) -> dict[str, Any] | None:
    """Return arrays, numbers and types of a safetensors file by its header alone; None for another file."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 0 < size <= min(_HEADER, path.stat().st_size):
            return None
        try:
            table = json.loads(file.read(size))
            entries = [entry for name, entry in table.items() if name != "__metadata__"]
            types = Counter(entry["dtype"] for entry in entries)
            numbers = sum(_product(entry["shape"]) for entry in entries)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
    return {"arrays": len(entries), "numbers": numbers, "types": dict(types)}


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"table of {len(value)}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__} of {len(value)}"
    return f"{type(value).__name__} {str(value)[:40]}"


def _kind(value: Any) -> str:
    if not hasattr(value, "shape"):
        return type(value).__name__
    return str(value.dtype) if str(value.dtype).startswith("torch.") else f"numpy.{value.dtype}"


def _product(shape: Iterable[int]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product
