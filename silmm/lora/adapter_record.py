"""The record that marks a tuned adapter as finished and proves its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from silmm.errors import DataError
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import finite, read_json, to_json, well_formed
from silmm.storage.sha256_cache import sha256_file


def adapter_record(adapter: Path) -> Path:
    """Return the path of the record that marks the adapter folder as finished."""
    return adapter.with_suffix(".json")


def seal_adapter(adapter: Path, metrics: Mapping[str, float]) -> None:
    """Write the record of a finished adapter: the SHA-256 of each file, and the final metrics."""
    files = {
        path.relative_to(adapter).as_posix(): sha256_file(path)
        for path in sorted(adapter.rglob("*")) if path.is_file()
    }
    content = {"files": files, "metrics": finite(metrics), "status": "complete"}
    atomic_write(adapter_record(adapter), to_json(content))


def finished_adapter(adapter: Path) -> bool:
    """Say whether the adapter folder and its record are there."""
    return adapter.is_dir() and adapter_record(adapter).is_file()


def check_adapter(adapter: Path) -> dict[str, float | None]:
    """Compare an adapter's files with its record and return the training's final metrics.

    Raises:
        DataError: a file is missing or not the one that was committed, or the record is broken.
    """
    record = read_json(adapter_record(adapter))
    with well_formed(adapter_record(adapter)):
        files: dict[str, str] = dict(record["files"])
        metrics: dict[str, float | None] = dict(record["metrics"])
    for name, expected in files.items():
        actual = sha256_file(adapter / name)
        if actual != expected:
            raise DataError(
                f"{adapter / name} is corrupt: its SHA-256 is {actual}, recorded {expected}. "
                f"Delete the folder {adapter} and run the same command again: "
                "it will be written again from the training's last checkpoint."
            )
    return metrics
