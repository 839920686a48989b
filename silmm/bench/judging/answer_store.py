"""Keeps judges' raw answers by content, so that no question is asked twice, whichever rule reads them.

A store is a folder of parts, `part-<sha256>.jsonl`, each written whole (:func:`atomic_write`) and named after
its own content. What survives a kill: every part that is there. Processes may share a store,
and stores of several machines are merged by copying their files together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from silmm.contracts.options import canonical
from silmm.errors import DataError
from silmm.storage.atomic_files import atomic_write, disk_errors
from silmm.storage.json_files import to_json

DIGITS = 32
"""Hexadecimal digits of a part's SHA-256 in its name."""
_REMEDY = "Delete this file and run the same command again: what it held is asked again."

Key = tuple[str, str]
"""An image's content id (or another subject) and the canonical JSON of what was asked about it."""


@dataclass
class AnswerStore:
    """The answers of one judge, or another table of facts that are computed once."""

    folder: Path
    _rows: dict[Key, Any] = field(default_factory=dict)
    _loaded: set[str] = field(default_factory=set)

    def load(self) -> AnswerStore:
        """Read the parts that are new since the last call, each checked against its name.

        Raises:
            DataError: a part is damaged.
        """
        for path in sorted(self.folder.glob("part-*.jsonl")):
            if path.name not in self._loaded:
                self._rows.update(_read_part(path))
                self._loaded.add(path.name)
        return self

    def __len__(self) -> int:
        """Count the answers."""
        return len(self._rows)

    def __contains__(self, key: Key) -> bool:
        """Return whether something is answered."""
        return key in self._rows

    def __getitem__(self, key: Key) -> Any:
        """Return an answer."""
        return self._rows[key]

    def items(self) -> list[tuple[Key, Any]]:
        """Return all answers with their keys."""
        return list(self._rows.items())

    def commit(self, rows: Iterable[tuple[Key, Any]]) -> None:
        """Store answers as one part, durably; no rows, no part.

        Raises:
            OutOfSpace, DataError: the system refused the write.
        """
        kept = list(rows)
        if not kept:
            return
        text = "".join(canonical([*key, answer]) + "\n" for key, answer in kept)
        path = self.folder / f"part-{_digest(text.encode())}.jsonl"
        atomic_write(path, text.encode())
        self._rows.update(kept)
        self._loaded.add(path.name)

    def describe(self, identity: Mapping[str, Any]) -> None:
        """Write into `identity.json`, for people, whose answers these are."""
        path = self.folder / "identity.json"
        if not path.is_file():
            atomic_write(path, to_json(identity))

    def keep_blob(self, data: bytes, suffix: str) -> str:
        """Store bytes too large for a part and return the file's name, which is made of its content."""
        name = f"{hashlib.sha256(data).hexdigest()}{suffix}"
        path = self.folder / "blobs" / name
        if not path.is_file():
            atomic_write(path, data)
        return name

    def blob(self, name: str) -> bytes:
        """Return what :meth:`keep_blob` stored, checked.

        Raises:
            DataError: it is missing or damaged.
        """
        path = self.folder / "blobs" / Path(name).name
        with disk_errors(path, "reading"):
            data = path.read_bytes()
        if not path.name.startswith(hashlib.sha256(data).hexdigest()):
            raise DataError(
                f"{path} is damaged: its name is not its SHA-256. Delete {self.folder} and run the same "
                "command again: this judge is asked again."
            )
        return data


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGITS]


def _read_part(path: Path) -> dict[Key, Any]:
    with disk_errors(path, "reading"):
        data = path.read_bytes()
    if path.name != f"part-{_digest(data)}.jsonl":
        raise DataError(f"{path} is damaged: its name is not its SHA-256. {_REMEDY}")
    try:
        rows = [json.loads(line) for line in data.split(b"\n") if line]
        return {(str(subject), str(asked)): answer for subject, asked, answer in rows}
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is no part of a store ({error}). {_REMEDY}") from error
