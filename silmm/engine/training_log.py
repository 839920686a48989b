"""The record of a training: one JSON line a step, the same however often it was resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from silmm.storage.atomic_files import atomic_write, disk_errors
from silmm.storage.json_files import finite


class TrainingLog:
    """Appends steps to a file; the first step after a restart cuts off what stood after it."""

    def __init__(self, path: Path) -> None:
        """Bind the log to its file, which need not exist."""
        self._path = path
        self._cut = False

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add step `step` (1-based), durably, before the trainer may store a checkpoint of it.

        Raises:
            OutOfSpace, DataError: the line could not be written.
        """
        line = json.dumps({**finite(metrics), "step": step}, sort_keys=True).encode() + b"\n"
        if not self._cut:
            kept = b"".join(text for number, text in self._lines() if number < step)
            atomic_write(self._path, kept + line)
            self._cut = True
            return
        with disk_errors(self._path, "writing"):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[os.write(descriptor, rest):]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _lines(self) -> list[tuple[int, bytes]]:
        if not self._path.exists():
            return []
        with disk_errors(self._path, "reading"):
            data = self._path.read_bytes()
        steps = []
        for line in data.splitlines(keepends=True):
            step = _step(line)
            if step is None:
                break  # cut short by a kill, or damaged: the trainer will say the steps again
            steps.append((step, line))
        return steps


def _step(line: bytes) -> int | None:
    try:
        row: Any = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    step = row.get("step") if isinstance(row, dict) else None
    return step if isinstance(step, int) else None
