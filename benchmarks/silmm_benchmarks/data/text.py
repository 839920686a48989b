"""Reads text of data files: ids, prompts, and JSON whose errors name line and column."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

from silmm.errors import DataError
from silmm_benchmarks.data.catalogue import CATALOGUE

LONGEST_PROMPT = 10_000
"""Characters; the longest official prompts have fewer than a thousand."""
_LONGEST_ID = 200  # bytes; file systems allow 255 with the extension


def read_text(path: Path) -> str:
    """Return a UTF-8 file's text.

    Raises:
        DataError: the file is missing, unreadable or not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8: byte {error.start} does not fit; fetch the file again."
        ) from error
    except OSError as error:
        name = path.absolute().parent.name
        remedy = f"`silmm data pull {name}` fetches it" if name in CATALOGUE else "see `silmm data list`"
        raise DataError(f"{path} cannot be read ({error.strerror}); {remedy}.") from error


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: the file is missing, unreadable or broken; names line and column.
    """
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is broken JSON at line {error.lineno}, column {error.colno} ({error.msg}); "
            "fetch the file again."
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, endless nesting
        raise DataError(f"{path} is not a data file ({error}); fetch the file again.") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object whose keys are distinct; of two equal ones JSON would silently keep the last."""
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        duplicate = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {duplicate!r:.80} comes twice in one object")
    return value


def checked_id(value: object, where: str) -> str:
    """Return an id that is safe as a file name.

    Raises:
        DataError: empty, too long, with a path separator, a control character or a leading dot.
    """
    text = checked_text(value, where, "id")
    unsafe = [char for char in text if char in '/\\:*?"<>|' or unicodedata.category(char).startswith("C")]
    if unsafe or text.startswith(".") or text != text.strip() or len(text.encode()) > _LONGEST_ID:
        raise DataError(
            f"{where}: the id {text[:80]!r} cannot be an image's file name; ids have no path separators, "
            f"control characters, outer spaces or leading dot, and at most {_LONGEST_ID} bytes."
        )
    return text


def checked_text(value: object, where: str, what: str) -> str:
    """Return a text that can be stored and used as a prompt or a question.

    Raises:
        DataError: not a string, blank, too long, or with a broken surrogate.
    """
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: the {what} is {value!r:.80}, not a text; correct the row.")
    if len(value) > LONGEST_PROMPT:
        raise DataError(
            f"{where}: the {what} has {len(value)} characters, more than {LONGEST_PROMPT}; correct the row."
        )
    if any("\ud800" <= char <= "\udfff" for char in value) or "\0" in value:
        raise DataError(f"{where}: the {what} holds a character that is not text; correct the row.")
    return value
