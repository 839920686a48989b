"""Seconds per stage, added up over resumed runs and kept apart from everything that is compared."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from silmm.errors import DataError, SilmmError
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import read_json, to_json


class Timings:
    """The wall-clock seconds of each stage, stored after it; a killed stage's seconds are lost."""

    def __init__(self, path: Path) -> None:
        """Go on from the seconds that `path` holds, if it is there and sound."""
        self._path = path
        self.seconds = _stored(path)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the seconds that the body takes, also when it fails."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + spent, 3)
            with suppress(SilmmError):  # a full disk must not hide the stage's own error
                atomic_write(self._path, to_json(self.seconds))


def total_seconds(run_dir: Path) -> dict[str, float]:
    """Return the seconds of all processes of a run, by stage name, iterations added up."""
    totals: dict[str, float] = {}
    for path in sorted(run_dir.glob("timings*.json")):
        for key, value in _stored(path).items():
            stage = key.rpartition("/")[2]
            totals[stage] = round(totals.get(stage, 0.0) + value, 3)
    return totals


def _stored(path: Path) -> dict[str, float]:
    """Return the seconds of a file; what is no number of seconds is left out: no result needs it."""
    seconds: dict[str, object] = {}
    with suppress(DataError):
        seconds = read_json(path)
    return {
        name: float(value) for name, value in seconds.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
