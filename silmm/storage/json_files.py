"""JSON files that are read with a clear error and written the same for the same content."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.errors import DataError
from silmm.storage.atomic_files import disk_errors

if TYPE_CHECKING:
    pass


def to_json(value: Mapping[str, Any]) -> bytes:
    """Return `value` as JSON bytes, the same for the same content."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def read_json(path: Path, remedy: str = "Delete it; it will be made again.") -> dict[str, Any]:
    """Read a JSON object; `remedy` ends the message where the file is not one.

    Raises:
        DataError: the file is missing, unreadable or not a JSON object.
    """
    with disk_errors(path, "reading"):
        data = path.read_bytes()
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:  # the latter: endless nesting
        raise DataError(f"{path} is not valid JSON ({error}). {remedy}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} holds no JSON object. {remedy}")
    return value


@contextmanager
def well_formed(path: Path, remedy: str = "Delete it; it will be made again.") -> Iterator[None]:
    """Turn a key that is missing in the content of `path`, or a value of another kind, into DataError.

    Raises:
        DataError: the body raised what reading such content raises.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} does not hold what it should ({error!r}). {remedy}") from error


def finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return metrics as JSON can hold them: null where a value is not finite."""
    return {
        name: float(value) if math.isfinite(value) else None for name, value in metrics.items()
    }
